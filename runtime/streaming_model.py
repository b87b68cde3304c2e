"""A step graph, opened: the model file of streams (`kit export --streaming`), shared by many of them."""

import logging
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from earkit.runtime.errors import CheckpointError, reason
from earkit.runtime.find_model import newest
from earkit.runtime.inference import TYPES
from earkit.runtime.model_file import (
    INPUTS,
    REFUSALS,
    ModelInfo,
    describe,
    open_session,
    refuse_one_shape,
)
from earkit.runtime.session import session_options
from earkit.runtime.stream import STEP_MS, Stream

log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


class StreamingModel:
    """One session of onnxruntime; streams keep their memory themselves, and may live in several threads.

    >>> model = StreamingModel.load("runs/owl")  # doctest: +SKIP
    >>> stream = model.stream(sample_rate=48_000)  # doctest: +SKIP
    """

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        self.path = path
        self.info: ModelInfo = describe(session, path)
        if self.info.stream is None:
            raise CheckpointError(
                f"{path} is for whole clips and no step graph: make one of the same student with "
                "`kit export RUN --streaming`"
            )
        refuse_one_shape(self.info, path)
        self.delay: int = self.info.stream.delay
        """Frames by which frames come later than their audio."""
        nothing: Arrays = {
            "frames": np.zeros((0, self.info.frame_dim), np.float32),
            "tokens": np.zeros(0, np.int64),
        }
        self.no_frames = {name: nothing[name] for name in nothing if name in self.info.outputs}
        """What a stream gives as long as there are no frames."""
        self._session = session
        self._names = [put.name for put in session.get_outputs()]
        self.initial_states = self._zeros(self.info.stream.states)
        """What a stream remembers before it has heard anything; a step makes new ones."""
        self._try()

    @classmethod
    def load(cls, place: str | Path | None = None, *, threads: int = 1) -> Self:
        """Open a step graph: a file, the newest in a run folder, or without `place` the newest of all runs.

        threads: a step is so little work that further threads only make it slower.
        """
        path = find_step_graph(None if place is None else Path(place))
        return cls(open_session(path, session_options(threads)), path)

    def stream(self, sample_rate: int = 16_000, *, channels: int = 1, step_ms: int = STEP_MS) -> Stream:
        """Begin a stream of audio at `sample_rate`, computed in steps of `step_ms`: see `Stream`."""
        return Stream(self, sample_rate, channels=channels, step_ms=step_ms)

    def step(self, audio: NDArray[np.float32], counted: int, states: Arrays) -> tuple[Arrays, Arrays]:
        """Feed whole hops, (samples,), of which the first `counted` count; gives outputs and next states.

        Outputs are without their batch axis.
        """
        outputs = self._run(audio, counted, states)
        return {name: outputs[name][0] for name in self.info.outputs}, {
            name: outputs[f"next_{name}"] for name in states
        }

    def _run(self, audio: NDArray[np.float32], counted: int, states: Arrays) -> Arrays:
        inputs = {"audio": audio[None], "lengths": np.array([counted], np.int64), **states}
        try:
            return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))
        except REFUSALS as error:
            raise self._damaged(reason(error)) from error

    def _zeros(self, shapes: dict[str, tuple[int, ...]]) -> Arrays:
        states: Arrays = {}
        for put in self._session.get_inputs():
            if put.name in INPUTS:
                continue
            shape = shapes[put.name][1:]
            if tuple(put.shape[1:]) != shape or put.type not in TYPES:
                raise self._damaged(f"its state {put.name} is not the one that it describes")
            states[put.name] = np.zeros((1, *shape), TYPES[put.type])
        return states

    def _try(self) -> None:
        """Take a step of nothing: what comes out must be what the description says."""
        info = self.info
        if not {"frame_start", "frame_lengths"} <= set(info.outputs) or not self.no_frames:
            raise self._damaged("it has no frames and tokens, or does not say of when they are")
        given = self._run(np.zeros(2 * info.hop, np.float32), 0, self.initial_states)
        frames = {
            "frames": (1, 2, info.frame_dim),
            "tokens": (1, 2),
            "frame_start": (1,),
            "frame_lengths": (1,),
        }
        shapes = frames | {f"next_{name}": state.shape for name, state in self.initial_states.items()}
        wrong = [name for name in self._names if np.shape(given[name]) != shapes.get(name)]
        if wrong or int(given["frame_start"][0]) != -self.delay:
            raise self._damaged("a step does not give what it describes")

    def _damaged(self, how: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path} is a damaged model file ({how}): export it again with `kit export --streaming`"
        )


def find_step_graph(place: Path | None, runs: Path = Path("runs")) -> Path:
    """Give the file that is meant: a file, or the newest step graph of a run or of all runs, which is said.

    place: a file, a run folder, or the name of a run in `runs`; None stands for all runs.
    """
    if place is None:
        files = runs.glob("*/*")
        where, command = f"any run in {runs}", "kit export"
    else:
        run = place if place.is_dir() else runs / place
        if place.is_file() or not run.is_dir():
            return place
        files = run.glob("*")
        where, command = str(run), f"kit export {run}"
    found = newest(files, _is_of_streams)
    if found is None:
        raise CheckpointError(
            f"there is no step graph in {where}: make one with `{command} --streaming`, "
            "or name the file of one"
        )
    log.info("taking the newest step graph, %s", found)
    return found


def _is_of_streams(info: ModelInfo) -> bool:
    return info.stream is not None and not info.samples
