"""Clips through a graph in memory, whole or in steps: what export and quantization measure with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import CheckpointError, reason
from earkit.runtime.model_file import INPUTS, REFUSALS
from earkit.runtime.stream import STEP_MS

STEP = STEP_MS * SAMPLE_RATE // 1000
"""Samples that a step graph is fed at once by default: 80 ms."""
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
"""Of the states of a step graph."""

Samples = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


class Graph(Protocol):
    """An `onnx.ModelProto`: this floor does not import onnx."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Give the bytes of an ONNX file."""


def open_graph(graph: Graph, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a graph in memory; its threads rest between runs, so that several graphs can take turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except REFUSALS as error:
        raise CheckpointError(
            f"onnxruntime {onnxruntime.__version__} cannot open the graph that was made "
            f"({reason(error)}): nothing was written; please report it"
        ) from error


def pad(clips: Sequence[Samples]) -> Arrays:
    """Make a batch of clips, as the inputs of a graph: zeros behind the shorter ones. One is not copied."""
    if len(clips) == 1:
        audio = clips[0][None]
    else:
        audio = np.zeros((len(clips), max(map(len, clips))), np.float32)
        for row, clip in zip(audio, clips, strict=True):
            row[: len(clip)] = clip
    return {"audio": audio, "lengths": np.array([len(clip) for clip in clips], np.int64)}


def run(session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Give all outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Compare what two runs give, whatever its shape."""
    x, y = (each.ravel().astype(np.float64) for each in (a, b))
    return float(x @ y / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-12))


def zero_states(session: onnxruntime.InferenceSession, batch: int) -> Arrays:
    """Give the states of a step graph at the beginning of its streams; a graph of clips has none."""
    return {
        put.name: np.zeros((batch, *put.shape[1:]), TYPES[put.type])
        for put in session.get_inputs()
        if put.name not in INPUTS
    }


def steps(
    session: onnxruntime.InferenceSession, clips: Sequence[Samples], step: int = STEP
) -> Iterator[tuple[Arrays, Arrays]]:
    """Feed clips to a step graph, each from its beginning, until the last frame has come out.

    step: samples at once, whole hops. Behind the end of the clips a longer step than 80 ms is cut to what is
    still to come. Gives what goes in and what comes out.
    """
    whole = pad(clips)
    states = zero_states(session, len(clips))
    begin, width = 0, step
    while width:
        heard = whole["audio"][:, begin : begin + width]
        audio = np.pad(heard, ((0, 0), (0, width - heard.shape[1])))
        inputs = {"audio": audio, "lengths": (whole["lengths"] - begin).clip(0, width), **states}
        made = run(session, inputs)
        yield inputs, made
        states = {name: made[f"next_{name}"] for name in states}
        begin += width
        if begin >= whole["audio"].shape[1]:
            time = made["frames" if "frames" in made else "tokens"].shape[1]
            missing = int(made["frame_lengths"].max()) - int(made["frame_start"][0]) - time
            width = min(step, max(STEP, missing * (width // time))) if missing > 0 else 0


def play(session: onnxruntime.InferenceSession, clips: Sequence[Samples], step: int = STEP) -> Arrays:
    """Feed clips in steps and join what comes out: it is what a graph of whole clips gives."""
    made = [given for _, given in steps(session, clips, step)]
    lengths, delay = made[-1]["frame_lengths"], -int(made[0]["frame_start"][0])
    own = slice(delay, delay + int(lengths.max()))
    joined: Arrays = {
        name: np.concatenate([given[name] for given in made], axis=1)[:, own]
        for name in ("frames", "tokens")
        if name in made[0]
    }
    return {**joined, "frame_lengths": lengths}
