"""The embedder: sound in, vectors out, of one model file."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, overload

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from earkit.runtime.batching import BATCH_SAMPLES, batches
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError, reason
from earkit.runtime.find_model import find_model
from earkit.runtime.inference import pad
from earkit.runtime.model_file import REFUSALS, ModelInfo, damaged, describe, open_session, refuse_one_shape
from earkit.runtime.outputs import Asked, Floats, Output, Result, Rows, SparseCode, ask, join, shapes, stack
from earkit.runtime.session import session_options
from earkit.runtime.side_by_side import SideBySide
from earkit.runtime.sounds import Heard, OpenSound, Sound
from earkit.runtime.windows import Window

WINDOW_SECONDS = 60
"""A longer sound is computed in windows. Export verifies clips of up to this length."""
GROUP_WINDOWS, READ_AHEAD = 2, 64
"""Windows' worth of clips, or clips if they are short, answered together: similar ones share a batch.
What shares one does not depend on the number of threads."""
SIDE_BY_SIDE_SAMPLES = 2 * BATCH_SAMPLES
"""Batches of up to so many run on a thread each; longer ones, which take much memory, on all threads."""

Item = TypeVar("Item", bound=Sound)
Many = list[Item] | tuple[Item, ...]
Group = list[tuple[Item, OpenSound | AudioError]]
OnError = Literal["raise", "yield"]
Hear = Callable[[Item, Heard], None]


class Embedder:
    """A model file, opened. It keeps nothing of what it hears, and several threads may share it.

    What a sound gives does not depend on what it is embedded with, up to rounding (float: 1e-4, int8: a
    cosine of 0.999); the same call gives the same again, to the bit.

    >>> embedder = Embedder.load("runs/owl")
    >>> embedder.embed("clip.wav").shape
    (16,)
    >>> embedder.embed(["clip.wav", "other.wav"], dim=8).shape
    (2, 8)
    """

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        self.path = path
        self.info: ModelInfo = describe(session, path)
        if self.info.stream is not None:
            raise CheckpointError(
                f"{path} is a step graph, for streams: give an export of the same student without --streaming"
            )
        refuse_one_shape(self.info, path)
        self._session = session
        self._threads: int = session.get_session_options().intra_op_num_threads

    @cached_property
    def _single(self) -> onnxruntime.InferenceSession:
        """The same on one thread, to run several batches at once: that takes two thirds of the time."""
        try:
            opened = open_session(self.path, session_options(1))
        except CheckpointError:
            return self._session  # the file is gone
        return opened if _metadata(opened) == _metadata(self._session) else self._session

    @classmethod
    def load(cls, model: str | Path | None = None, *, threads: int | None = None) -> Self:
        """Open a model: a built-in one by name, an .onnx or .ort file, or the newest export of a run.

        Without `model`, the built-in `tiny`. threads: by default as many as this process is granted, by a
        container's quota too.
        """
        path = find_model(model)
        return cls(open_session(path, session_options(threads)), path)

    @property
    def sample_rate(self) -> int:
        """Of the model, in Hz. Sound of another rate is resampled."""
        return self.info.sample_rate

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.info.dim

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths that the embedding was trained to be cut to."""
        return self.info.dims or (self.info.dim,)

    @property
    def frame_rate(self) -> float:
        """Frames and tokens per second."""
        return self.info.sample_rate / self.info.hop

    @property
    def lookahead_ms(self) -> float:
        """Time behind the end of a frame that decides it."""
        return 1000 * self.info.lookahead / self.info.sample_rate

    @overload
    def embed(
        self,
        x: Sound | Many[Item],
        sample_rate: float | None = None,
        dim: int | None = None,
        output: Literal["embedding", "scores"] = "embedding",
    ) -> Floats: ...

    @overload
    def embed(self, x: Sound, sample_rate: float | None = None, *, output: Literal["frames"]) -> Floats: ...

    @overload
    def embed(
        self, x: Many[Item], sample_rate: float | None = None, *, output: Literal["frames"]
    ) -> list[Floats]: ...

    @overload
    def embed(
        self, x: Sound, sample_rate: float | None = None, *, output: Literal["tokens"]
    ) -> NDArray[np.int64]: ...

    @overload
    def embed(
        self, x: Many[Item], sample_rate: float | None = None, *, output: Literal["tokens"]
    ) -> list[NDArray[np.int64]]: ...

    @overload
    def embed(
        self,
        x: Sound | Many[Item],
        sample_rate: float | None = None,
        *,
        output: Literal["sparse"],
        k: int | None = None,
    ) -> SparseCode: ...

    def embed(
        self,
        x: Sound | Many[Item],
        sample_rate: float | None = None,
        dim: int | None = None,
        output: Output = "embedding",
        k: int | None = None,
    ) -> Result | list[Floats] | list[NDArray[np.int64]]:
        """Embed one sound, or many in a list or tuple.

        x: path, bytes of an audio file, open binary file, or array: (samples,) or (samples, channels), floats
        in [-1, 1], int16 or int32. Channels are averaged.
        sample_rate: of an array, which needs it; a file says its own, and another one is refused.
        dim: width of the embedding, one of `dims`. k: latents of the sparse code.
        output, for one sound and for many:

        - "embedding": (dim,) and (n, dim), each of length one;
        - "frames": (time, frame dim), and a list of them;
        - "tokens": (time,), and a list of them;
        - "sparse": a `SparseCode`, (k,) and (n, k);
        - "scores": logits in the order of `info.classes`, (classes,) and (n, classes).

        For sounds longer than a minute see `earkit.runtime.outputs`.
        """
        asked = ask(self.info, output, dim, k)
        sounds = x if isinstance(x, list | tuple) else [x]
        threads = min(self._threads, len(sounds))
        answers = self._answers(sounds, asked, sample_rate, threads)
        results: list[Any] = [result for _, result in answers]
        made: Result = stack(asked, self.info, results) if isinstance(x, list | tuple) else results[0]
        return made

    @overload
    def embed_iter(
        self,
        corpus: Iterable[Item],
        sample_rate: float | None = None,
        dim: int | None = None,
        output: Literal["embedding", "scores", "frames"] = "embedding",
        *,
        heard: Hear[Item] | None = None,
    ) -> Iterator[tuple[Item, Floats]]: ...

    @overload
    def embed_iter(
        self,
        corpus: Iterable[Item],
        sample_rate: float | None = None,
        *,
        output: Literal["tokens"],
        heard: Hear[Item] | None = None,
    ) -> Iterator[tuple[Item, NDArray[np.int64]]]: ...

    @overload
    def embed_iter(
        self,
        corpus: Iterable[Item],
        sample_rate: float | None = None,
        *,
        output: Literal["sparse"],
        k: int | None = None,
        heard: Hear[Item] | None = None,
    ) -> Iterator[tuple[Item, SparseCode]]: ...

    @overload
    def embed_iter(
        self,
        corpus: Iterable[Item],
        sample_rate: float | None = None,
        dim: int | None = None,
        output: Output = "embedding",
        k: int | None = None,
        *,
        on_error: OnError,
        heard: Hear[Item] | None = None,
    ) -> Iterator[tuple[Item, Result | AudioError]]: ...

    def embed_iter(
        self,
        corpus: Iterable[Item],
        sample_rate: float | None = None,
        dim: int | None = None,
        output: Output = "embedding",
        k: int | None = None,
        *,
        on_error: OnError = "raise",
        heard: Hear[Item] | None = None,
    ) -> Iterator[tuple[Item, Result | AudioError]]:
        """Embed sound after sound, in order, in memory that depends on no length and no count.

        Gives each sound with its result. on_error: "raise" ends at the first sound that cannot be used, after
        all before it; "yield" gives the `AudioError` as its result. heard: is told of each sound what had to
        be done to it.
        """
        asked = ask(self.info, output, dim, k)
        if on_error not in {"raise", "yield"}:
            raise ConfigError(f"on_error is {on_error!r}: take 'raise' or 'yield'")
        return self._answers(corpus, asked, sample_rate, self._threads, on_error=on_error, heard=heard)

    def _answers(
        self,
        corpus: Iterable[Item],
        asked: Asked,
        sample_rate: float | None,
        threads: int,
        *,
        on_error: OnError = "raise",
        heard: Hear[Item] | None = None,
    ) -> Iterator[tuple[Item, Result | AudioError]]:
        with SideBySide(threads) as workers:
            for group in self._groups(corpus, asked, sample_rate, workers):
                answers = self._short(group, asked, workers)
                for i, (item, sound) in enumerate(group):
                    try:
                        if isinstance(sound, AudioError):
                            raise sound
                        answer: Result | AudioError = answers[i] if i in answers else self._long(sound, asked)
                        if heard:
                            heard(item, sound.heard)
                    except AudioError as error:
                        if on_error == "raise":
                            raise
                        answer = error
                    yield item, answer

    def _groups(
        self, corpus: Iterable[Item], asked: Asked, sample_rate: float | None, workers: SideBySide
    ) -> Iterator[Group[Item]]:
        """Open sounds, as many as are answered together: a long one is the last."""
        hop = self.info.hop
        size = WINDOW_SECONDS * self.info.sample_rate // hop * hop
        around = (-(-self.info.context // hop) * hop, self.info.lookahead) if asked.is_by_frame else (0, 0)

        def opened(given: tuple[Item, Sound]) -> tuple[Item, OpenSound | AudioError]:
            item, own = given
            try:
                return item, OpenSound(own, sample_rate, size, *around)
            except AudioError as error:
                return item, error

        group: Group[Item] = []
        samples = 0
        # An array may be filled anew for the next sound, which is asked for before this one is computed.
        owned = ((item, item.copy() if isinstance(item, np.ndarray) else item) for item in corpus)
        for item, sound in workers.map(opened, owned):
            group.append((item, sound))
            if isinstance(sound, OpenSound):
                samples += len(sound.first.samples)
            if samples >= GROUP_WINDOWS * size or len(group) == READ_AHEAD:
                yield group
                group, samples = [], 0
        if group:
            yield group

    def _short(self, group: Group[Item], asked: Asked, workers: SideBySide) -> dict[int, Result]:
        """Answer sounds of one window in batches. Gives results by place in the group."""
        short = {
            i: sound.first
            for i, (_, sound) in enumerate(group)
            if isinstance(sound, OpenSound) and sound.is_short
        }
        cut = list(batches({i: len(window.samples) for i, window in short.items()}))
        windows = [[short[i] for i in batch] for batch in cut]
        results: dict[int, Result] = {}
        for batch, made in zip(cut, self._run_all(windows, asked, workers), strict=True):
            for i, rows in zip(batch, made, strict=True):
                results[i] = join(asked, self.info, [rows], [short[i].keep])
        return results

    def _run_all(self, given: list[list[Window]], asked: Asked, workers: SideBySide) -> Iterator[list[Rows]]:
        """Compute batches, in their order: several that are small at once, others one after the other."""
        small = [batch for batch in given if sum(len(w.samples) for w in batch) <= SIDE_BY_SIDE_SAMPLES]
        if workers.threads > 1 and len(small) > 1:
            single = self._single
            yield from workers.map(lambda batch: self._run(batch, asked, single), small)
            given = given[len(small) :]  # lengths rise, so those that are left are the last
        for batch in given:
            yield self._run(batch, asked, self._session)

    def _long(self, sound: OpenSound, asked: Asked) -> Result:
        """Answer a sound of several windows, one at a time."""
        if asked.is_by_frame:
            return self._long_frames(sound, asked)
        made, samples = [], []
        for window in sound.windows():
            made += self._run([window], asked, self._session)
            samples.append(window.keep)
        return join(asked, self.info, made, samples)

    def _long_frames(self, sound: OpenSound, asked: Asked) -> Result:
        """Join frames as they come: a list of them all would take as much memory as the result does."""
        held = bytearray()
        for window in sound.windows():
            frames = self._run([window], asked, self._session)[0][asked.output]
            held += frames.tobytes()
        joined: Result = np.frombuffer(held, frames.dtype).reshape(-1, *frames.shape[1:])
        return joined

    def _run(self, batch: list[Window], asked: Asked, session: onnxruntime.InferenceSession) -> list[Rows]:
        """Compute windows together. Gives what is each one's own."""
        hop = self.info.hop
        inputs = pad([window.samples for window in batch])
        try:
            made = session.run(asked.names, inputs)
        except (*REFUSALS, UnicodeDecodeError) as error:
            raise damaged(self.path, reason(error)) from error
        outputs = dict(zip(asked.names, made, strict=True))
        for name, shape in shapes(asked, self.info, len(batch), -(-inputs["audio"].shape[1] // hop)).items():
            if outputs[name].shape != shape or not np.isfinite(outputs[name]).all():
                raise damaged(self.path, f"its {name} is not what it describes")
        if not asked.is_by_frame:
            return [{name: output[i] for name, output in outputs.items()} for i in range(len(batch))]
        own = [slice(window.skip // hop, -(-(window.skip + window.keep) // hop)) for window in batch]
        return [{name: output[i, own[i]] for name, output in outputs.items()} for i in range(len(batch))]


def _metadata(session: onnxruntime.InferenceSession) -> dict[str, str]:
    """Give what is written in a model file, its checksum too."""
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return found
