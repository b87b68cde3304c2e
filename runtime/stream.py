"""A stream: audio goes in by chunks of any size, frames come out as soon as they are decided.

Samples are gathered to steps of a fixed length, so what comes out is the same to the last bit however the
audio was cut. It equals the frames of the whole file, as `read` would decode it, up to rounding.
"""

import functools
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from earkit.runtime.audio import CHANNELS, LOUDEST, RATES, Samples
from earkit.runtime.clipping import ClippingGuard
from earkit.runtime.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from earkit.runtime.streaming_model import StreamingModel

log = logging.getLogger(__name__)

STEP_MS = 80
"""Half of it costs 1.4 times the time per second of audio, for frames 40 ms earlier."""


@dataclass(frozen=True)
class StreamFrames:
    """Frames that came out together, often none; each continues where the one before ended."""

    start: int
    """Index of the first in the stream."""
    seconds: float
    """When the audio of the first begins."""
    frames: NDArray[np.float32] | None
    """(time, frame dim), or None where the file has none."""
    tokens: NDArray[np.int64] | None
    """(time,), the same."""

    def __len__(self) -> int:
        some = self.tokens if self.frames is None else self.frames
        return 0 if some is None else len(some)


class Stream:
    """One stream of one model; made by `StreamingModel.stream`.

    sample_rate: of what is pushed; another than the model's is resampled, and said. channels: more than one
    are averaged. step_ms: how much is computed at once, a multiple of the frame; each length rounds
    differently, by about 1e-6.
    """

    def __init__(
        self, model: "StreamingModel", sample_rate: int, *, channels: int = 1, step_ms: int = STEP_MS
    ) -> None:
        hop, rate = model.info.hop, model.info.sample_rate
        if sample_rate not in RATES or channels not in CHANNELS:
            raise ConfigError(
                f"a stream cannot have {sample_rate} Hz and {channels} channels: "
                f"{RATES[0]} to {RATES[-1]} Hz and up to {CHANNELS[-1]} channels can be heard"
            )
        if step_ms < 1 or step_ms * rate % (1000 * hop):
            raise ConfigError(
                f"a stream cannot go in steps of {step_ms} ms: give a multiple of {1000 * hop // rate}, "
                "the length of a frame"
            )
        self.sample_rate, self.channels, self.step_ms = sample_rate, channels, step_ms
        self._model = model
        self._step = step_ms * rate // 1000
        self._said_clipping = False
        if sample_rate != rate:
            log.info("a stream at %d Hz is resampled to %d Hz", sample_rate, rate)
        if channels > 1:
            log.info("a stream of %d channels is averaged to one", channels)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard: what is pushed next is the beginning of another stream."""
        rate = self._model.info.sample_rate
        self._resampler = (
            soxr.ResampleStream(self.sample_rate, rate, 1, dtype="float32", quality="HQ")
            if self.sample_rate != rate
            else None
        )
        self._guard = ClippingGuard(self.channels)
        self._states = self._model.initial_states
        self._waiting: Samples = np.zeros(0, np.float32)
        self._made: list[dict[str, NDArray[Any]]] = []
        self._pushed = 0  # samples, at the rate of the stream
        self._given = 0  # frames
        self._flushed = False

    @property
    def latency_ms(self) -> float:
        """Longest time from a sound to its frame: the model's delay, a step, and the resampler's delay."""
        info = self._model.info
        delay = 1000 * self._model.delay * info.hop / info.sample_rate + self.step_ms
        return delay + (_resampling_ms(self.sample_rate, info.sample_rate) if self._resampler else 0)

    @property
    def clipped(self) -> int:
        """Samples pushed so far that clip: beyond [-1, 1], or at full scale with three or more in a row.

        Those beyond are cut to [-1, 1].
        """
        return self._guard.clipped

    def push(self, chunk: NDArray[np.int16] | NDArray[np.float32]) -> StreamFrames:
        """Hear a chunk, (samples,) or (samples, channels); gives the frames that are decided by now.

        float32 is in [-1, 1], int16 uses its range. A chunk that is refused has changed nothing.
        """
        if self._flushed:
            raise ConfigError("this stream has been flushed: call reset() before pushing another")
        samples = self._checked(chunk)
        self._watch(samples)
        self._pushed += len(samples)
        self._gather(samples[:, 0] if self.channels == 1 else samples.mean(axis=1, dtype=np.float32))
        self._advance()
        return self._take()

    def flush(self) -> StreamFrames:
        """End the stream here, as a file ends, and give the rest of its frames."""
        if not self._flushed:
            self._flushed = True
            self._gather(np.zeros(0, np.float32), last=True)
            self._advance()
            self._end()
        return self._take()

    def _checked(self, chunk: NDArray[np.int16] | NDArray[np.float32]) -> Samples:
        """Refuse what is no sound for this stream. -> (samples, channels)."""
        if not isinstance(chunk, np.ndarray) or chunk.dtype not in (np.int16, np.float32):
            kind = chunk.dtype if isinstance(chunk, np.ndarray) else type(chunk).__name__
            raise AudioError(
                f"a chunk of {kind} cannot be heard: give a NumPy array, float32 in [-1, 1] or int16"
            )
        if chunk.ndim == 1 and self.channels == 1:
            chunk = chunk[:, None]
        if chunk.ndim != 2 or chunk.shape[1] != self.channels:
            raise AudioError(
                f"a chunk of shape {chunk.shape} is not what this stream was begun with: "
                f"give (samples, {self.channels})"
            )
        samples = chunk.astype(np.float32, copy=False)
        if chunk.dtype == np.int16:
            samples = samples / np.float32(32_768)
        peak = float(np.abs(samples).max(initial=0.0))
        if not math.isfinite(peak):
            raise AudioError(
                "a chunk holds samples that are not finite: leave it out, or see whether it is float32 at all"
            )
        if peak > LOUDEST:
            raise AudioError(f"a chunk reaches {peak:.6g} where full scale is 1: divide it by its full scale")
        return samples

    def _watch(self, samples: Samples) -> None:
        if self._guard.hear(samples) and not self._said_clipping:
            self._said_clipping = True
            log.warning(
                "the stream clips, first at %.1f s: record it with a lower level",
                self._pushed / self.sample_rate,
            )

    def _gather(self, samples: Samples, *, last: bool = False) -> None:
        """Let mono samples wait for their step, at the model's rate."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        self._waiting = np.concatenate([self._waiting, samples.clip(-1, 1)])

    def _advance(self) -> None:
        """Compute all steps that are whole."""
        while len(self._waiting) >= self._step:
            self._compute(self._waiting[: self._step], self._step)
            self._waiting = self._waiting[self._step :]
        self._waiting = self._waiting.copy()  # of a long chunk, only what is left stays in memory

    def _end(self) -> None:
        """Compute what is left of the audio, and nothing after it until the last frame has come out."""
        left = self._waiting
        after = math.ceil((len(left) + self._model.delay * self._model.info.hop) / self._step) * self._step
        self._waiting = np.concatenate([left, np.zeros(after - len(left), np.float32)])
        counted = len(left)
        while len(self._waiting):
            self._compute(self._waiting[: self._step], counted)
            self._waiting, counted = self._waiting[self._step :], 0

    def _compute(self, audio: Samples, counted: int) -> None:
        """Feed one step, and keep those of its frames that are in the stream."""
        made, self._states = self._model.step(audio, counted, self._states)
        start, total = int(made["frame_start"]), int(made["frame_lengths"])
        within = slice(max(0, -start), max(0, total - start))
        self._made.append({name: made[name][within] for name in self._model.no_frames})

    def _take(self) -> StreamFrames:
        """Hand out what was made since the last time."""
        info = self._model.info
        made = {
            name: np.concatenate([nothing, *(each[name] for each in self._made)])
            for name, nothing in self._model.no_frames.items()
        }
        taken = StreamFrames(
            self._given, self._given * info.hop / info.sample_rate, made.get("frames"), made.get("tokens")
        )
        self._made = []
        self._given += len(taken)
        return taken


@functools.cache
def _resampling_ms(rate: int, wanted: int) -> float:
    """Longest time for which the resampler keeps a sound: it works in blocks, and tells of no bound."""
    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    piece = np.zeros(max(1, rate // 1000), np.float32)
    fed = np.arange(1, 3 * rate // len(piece) + 1) * len(piece) / rate
    given = np.cumsum([len(resampler.resample_chunk(piece)) for _ in fed]) / wanted
    return 1000 * float((fed - given).max())
