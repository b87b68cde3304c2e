"""Sound files as the model wants them: mono, 16 kHz, float32 in [-1, 1].

libsndfile decodes (wav, flac, ogg, opus, mp3 and its other formats), the mean over channels makes mono, and
soxr resamples. A part of a file is cut on the 16 kHz grid of the whole file, so reading a part equals
reading everything and slicing.
"""

import io
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earkit.runtime.errors import AudioError

SAMPLE_RATE = 16_000
SILENCE = 1e-4  # -80 dB: below three steps of 16 bits, so nothing but dither

Samples = NDArray[np.float32]
Source = str | Path | bytes | BinaryIO

RATES = range(1000, 1_000_001)  # Hz
CHANNELS = range(1, 257)
LOUDEST = 8.0  # 18 dB over full scale; above it, samples are integers in a float file rather than loud
_MARGIN = 0.05  # seconds on each side of a part; the resampler's impulse response is shorter
_BLOCK = 1 << 20  # values decoded at a time, so that a header that lies about its length costs no memory
_MP3_SLACK = 2 * 1152  # frames; an mp3 may state its encoder's padding, which no decoder gives back
_MP3_LEAD = 16 * 1152  # frames decoded before a part: an mp3 frame may need bits of many small ones before it
_STREAMED = 0x7FFF_0000  # a RIFF size at or above it is the placeholder of a program that wrote to a pipe
_UNSTATED = 1 << 62  # libsndfile gives its largest number for a stream that states no length
_STATED = re.compile(r"^\s*(?:data|SSND) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass(frozen=True)
class AudioInfo:
    """What a header says; `frames` are samples of one channel at `rate`."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return self.frames / self.rate


@dataclass(frozen=True)
class Audio:
    """Decoded sound, and what had to be done to it."""

    samples: Samples
    """Mono, at `SAMPLE_RATE`, in [-1, 1]."""
    source_rate: int
    channels: int
    """Of the source; more than one were averaged."""
    clipped: int = 0
    """Samples beyond full scale: lossy codecs and resampling overshoot a little, float files may be loud."""


def probe(source: Source, *, name: str | None = None) -> AudioInfo:
    """Read the header only. `name` stands for the source in errors."""
    with _opened(source, name) as (sound, _):
        return AudioInfo(sound.samplerate, sound.channels, sound.frames)


def read(
    source: Source, *, start: float = 0.0, seconds: float | None = None, name: str | None = None
) -> Audio:
    """Decode a sound, or the part of it from `start` that is `seconds` long or ends with the sound.

    `name` stands for the source in errors. Samples beyond full scale are clipped, and counted. A sound with
    less in it than its header says is an error; ogg and opus do not say, so what is left of them is read.
    """
    if not (0 <= start < math.inf and (seconds is None or 0 < seconds < math.inf)):
        raise AudioError(
            f"cannot read {seconds} seconds from {start}: give a start of 0 or above and seconds above 0"
        )
    with _opened(source, name) as (sound, called):
        first = round(start * SAMPLE_RATE)
        wanted = None if seconds is None else max(1, round(seconds * SAMPLE_RATE))
        samples = _part(sound, first, wanted, called)
        if not len(samples):
            raise AudioError(
                f"{called} is {sound.frames / sound.samplerate:.3f} s long: nothing stands at {start:.3f} s"
            )
        return _audio(samples, sound.samplerate, sound.channels, called)


def blocks(source: Source, *, name: str | None = None) -> Iterator[Audio]:
    """Decode a sound block by block, in memory that does not depend on its length.

    The blocks, joined, are what `read` gives; of a damaged sound, some may come before the error.
    """
    with _opened(source, name) as (sound, called):
        mono = _decoded(sound, 0, sound.frames, called)
        yield from at_16_khz(mono, sound.samplerate, sound.channels, called)


def at_16_khz(mono: Iterable[Samples], rate: int, channels: int, called: str) -> Iterator[Audio]:
    """Resample consecutive blocks of a sound; `channels` and `called` are of the source, for what is said."""
    empty = True
    for samples in mono if rate == SAMPLE_RATE else _resampled(mono, rate):
        if len(samples):
            empty = False
            yield _audio(samples, rate, channels, called)
    if empty:
        raise AudioError(f"{called} is too short: it has no sample at {SAMPLE_RATE} Hz")


def _resampled(mono: Iterable[Samples], rate: int) -> Iterator[Samples]:
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for samples in mono:
        yield resampler.resample_chunk(samples)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def is_silent(samples: Samples) -> bool:
    """Whether this is digital silence: no sample reaches -80 dB of full scale."""
    return not len(samples) or float(np.max(np.abs(samples))) < SILENCE


@contextmanager
def _opened(source: Source, name: str | None) -> Iterator[tuple[Any, str]]:
    """Give an open `soundfile.SoundFile` with a sane header, and what to call it."""
    called = name or _called(source)
    try:
        with soundfile.SoundFile(_readable(source, called)) as sound:
            _check_header(sound, called)
            yield sound, called
    except OSError as error:
        raise AudioError(f"cannot read {called}: {error.strerror or error}") from error
    except soundfile.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise AudioError(
            f"{called} is damaged or not audio ({reason}): convert it to wav or flac, or leave it out"
        ) from error


def _called(source: Source) -> str:
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes):
        return f"audio of {len(source)} bytes"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "an open file"


def _readable(source: Source, called: str) -> bytes | BinaryIO:
    """Give what libsndfile can open: a path as bytes (any name is valid then) or a seekable file."""
    if isinstance(source, str | Path):
        path = Path(source)
        size = path.stat().st_size
        if not path.is_file():
            raise AudioError(f"{called} is not a file: give a sound file")
        if path.suffix.lower() == ".raw":
            raise _headless(called)
    else:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        if not file.seekable():
            file = io.BytesIO(file.read())
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    if not size:
        raise AudioError(f"{called} is empty (0 bytes): record or copy it again, or leave it out")
    return os.fsencode(path) if isinstance(source, str | Path) else file


def _check_header(sound: Any, called: str) -> None:  # noqa: ANN401 - soundfile publishes no types
    if sound.format == "RAW":  # libsndfile takes anything at all for sound where its name ends in .au or .snd
        raise _headless(called)
    if sound.samplerate not in RATES or sound.channels not in CHANNELS:
        raise AudioError(
            f"{called} claims {sound.samplerate} Hz and {sound.channels} channels: "
            f"{RATES[0]} to {RATES[-1]} Hz and up to {CHANNELS[-1]} channels can be read"
        )
    if sound.frames >= _UNSTATED:
        raise AudioError(f"{called} does not state its length, as when written to a pipe: re-encode it")
    if sound.frames <= 0:
        raise AudioError(f"{called} is empty (no samples): record or copy it again, or leave it out")
    # libsndfile reads a cut wav or aiff to its end without complaint; only its log tells.
    stated = _STATED.search(sound.extra_info) if sound.format in {"WAV", "WAVEX", "AIFF"} else None
    if stated:
        promised, present = int(stated[1]), int(stated[2])
        frames = promised * sound.frames // max(present, 1)
        if promised < _STREAMED and frames > sound.frames:
            raise _truncated(called, frames, sound.frames)


def _headless(called: str) -> AudioError:
    return AudioError(f"{called} has no header that says its rate: convert it to wav or flac")


def _truncated(called: str, promised: int, found: int) -> AudioError:
    return AudioError(
        f"{called} is truncated ({found} of {promised} samples are there): copy it again, or leave it out"
    )


def _part(sound: Any, first: int, wanted: int | None, called: str) -> Samples:  # noqa: ANN401 - as above
    """Decode samples [first, first + wanted) of the 16 kHz signal, fewer where it ends before."""
    rate: int = sound.samplerate
    shared = math.gcd(rate, SAMPLE_RATE)
    # Every `step_in` samples of the source, both grids meet: a part that begins there keeps the phase.
    step_in, step_out = rate // shared, SAMPLE_RATE // shared
    margin = 0 if rate == SAMPLE_RATE else round(_MARGIN * SAMPLE_RATE)
    step = max(0, first - margin) // step_out
    begin, end = step * step_in, sound.frames
    if wanted is not None:
        end = min(end, math.ceil((first + wanted + margin) * rate / SAMPLE_RATE))
    if begin >= end:
        return np.zeros(0, np.float32)
    samples = _decode(sound, begin, end, called)
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    skip = first - step * step_out
    return np.ascontiguousarray(samples[skip : None if wanted is None else skip + wanted])


def _decode(sound: Any, begin: int, end: int, called: str) -> Samples:  # noqa: ANN401 - as above
    """Mono samples [begin, end) at the source's rate."""
    return np.concatenate([np.zeros(0, np.float32), *_decoded(sound, begin, end, called)])


def _decoded(sound: Any, begin: int, end: int, called: str) -> Iterator[Samples]:  # noqa: ANN401 - as above
    """Give the same block by block."""
    is_mp3 = sound.format in {"MP3", "MPEG"}
    place = begin
    while place < end:
        # soundfile seeks after each read, so that each block of an mp3 needs its lead.
        lead = min(place, _MP3_LEAD) if is_mp3 else 0
        sound.seek(place - lead)
        wanted = min(end - place, _BLOCK // sound.channels)
        block = sound.read(lead + wanted, dtype="float32", always_2d=True)[lead:]
        if not len(block):
            break
        mono = block[:, 0] if sound.channels == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise AudioError(f"{called} holds samples that are not finite: repair it, or leave it out")
        yield mono
        place += len(block)
    if end - place > (_MP3_SLACK if is_mp3 else 0):
        raise _truncated(called, end - begin, place - begin)


def _audio(samples: Samples, rate: int, channels: int, called: str) -> Audio:
    """Clip what is beyond full scale, and count it."""
    over = 0
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))
    if peak > 1:
        over = int(np.count_nonzero(np.abs(samples) > 1))
        if peak > LOUDEST:
            raise AudioError(
                f"{called} reaches {peak:.6g} where full scale is 1: divide it by its full scale"
            )
        samples = np.clip(samples, -1.0, 1.0)
    return Audio(samples, rate, channels, over)
