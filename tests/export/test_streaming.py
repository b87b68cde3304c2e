"""Streams against whole files in torch, by an own loop over the step graph."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from earkit.distill.distilled import DistilledStudent, load_student
from earkit.export.graph import select
from earkit.export.streaming import verify_stream
from earkit.export.student import Exported, export_student
from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.model_file import read_model_file
from earkit.runtime.streaming_model import StreamingModel

LENGTHS = [1, 7_000, 12_801]


def feed(
    exported: Exported, audio: np.ndarray, lengths: np.ndarray, steps: list[int]
) -> dict[str, np.ndarray]:
    """Feed steps of so many frames; a frame goes where its index says."""
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    assert exported.info.stream is not None
    states = {
        name: np.zeros((len(audio), *shape[1:]), np.int64 if name == "heard" else np.float32)
        for name, shape in exported.info.stream.states.items()
    }
    frames = np.full((len(audio), sum(steps), 32), np.nan, np.float32)
    tokens = np.full((len(audio), sum(steps)), -2)
    at = 0
    for step in steps:
        now = slice(640 * at, 640 * (at + step))
        counted = (lengths - now.start).clip(0, 640 * step)
        given = dict(
            zip(
                names, session.run(names, {"audio": audio[:, now], "lengths": counted, **states}), strict=True
            )
        )
        states = {name: given[f"next_{name}"] for name in states}
        for row, start in enumerate(given["frame_start"]):
            for i in range(step):
                if start + i >= 0:
                    frames[row, start + i] = given["frames"][row, i]
                    tokens[row, start + i] = given["tokens"][row, i]
                else:
                    assert (given["frames"][row, i] == 0).all()
                    assert given["tokens"][row, i] == -1
        at += step
    return {"frames": frames, "tokens": tokens, "frame_lengths": given["frame_lengths"]}


@pytest.mark.parametrize("steps", [[1] * 27, [2] * 13, [7, 1, 3, 11, 4]])
def test_a_stream_is_the_whole_file(run: Path, stream: Exported, steps: list[int]) -> None:
    audio = np.random.default_rng(0).standard_normal((3, 640 * 27)).astype(np.float32) / 20
    given = feed(stream, audio, np.array(LENGTHS), steps)
    model, _ = load_student(run)
    with torch.inference_mode():
        for i, n in enumerate(LENGTHS):
            frames, _ = model.frames(torch.from_numpy(audio[i : i + 1, :n]), torch.tensor([n]))
            time = frames.shape[1]
            assert given["frame_lengths"][i] == time
            np.testing.assert_allclose(given["frames"][i, :time], frames[0], atol=1e-4)
            assert given["tokens"][i, :time].tolist() == model.tokens(frames)[1, 0].tolist()


def test_the_runtime_streams_it_as_the_whole_file(stream: Exported, exported: Exported) -> None:
    audio = np.random.default_rng(1).standard_normal(30_011).astype(np.float32) / 20
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    whole = {"audio": audio[None], "lengths": np.array([len(audio)])}
    frames, tokens = (each[0] for each in session.run(["frames", "tokens"], whole))
    streams = play(stream.file, audio)
    for made in streams:
        np.testing.assert_allclose(made["frames"], frames, atol=1e-4)
        assert made["tokens"].tolist() == tokens.tolist()
        assert made["frames"].tobytes() == streams[0]["frames"].tobytes()


def test_a_graph_of_steps_that_drifts_is_caught(run: Path, stream: Exported) -> None:
    """Of states too: what a block remembers is a frame late."""
    model, _ = load_student(run)
    selection = select(model, streaming=True)
    found = verify_stream(onnx.load(stream.file), model, selection)
    assert set(found) == {"frames", "frame_lengths", "tokens"}
    assert max(found.values()) <= 1e-4
    proto = onnx.load(stream.file)
    (put,) = (node for node in proto.graph.node if "next_past_frames" in node.output)
    put.output[0] = "kept"
    shift = onnx.helper.make_node("Mul", ["kept", "almost_one"], ["next_past_frames"])
    proto.graph.node.append(shift)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(1.01), "almost_one"))
    with pytest.raises(CheckpointError, match=r"frames of the exported graph is off by \S+ in a stream of "):
        verify_stream(proto, model, selection)


def test_its_front_end_goes_by_the_name_that_quantization_leaves_alone(
    stream: Exported, exported: Exported
) -> None:
    def products(file: Path) -> list[str]:
        return sorted(n.name for n in onnx.load(file).graph.node if n.op_type in {"MatMul", "Conv"})

    front = [name for name in products(stream.file) if name.startswith("student.log_mel/")]
    assert front == [name for name in products(exported.file) if name.startswith("student.log_mel/")]
    assert len(front) == 6
    rest = set(products(stream.file)) - set(front)
    assert rest < set(products(exported.file))  # what is not in a stream: pooling and its heads
    assert "student.blocks.1.convolution.depthwise/Conv" in rest


def play(file: Path, audio: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Frames and tokens by the runtime, for chunks of several sizes."""
    model, made = StreamingModel.load(file), []
    for size in (37, 1600, 100_000):
        own = model.stream()
        given = [own.push(audio[i : i + size]) for i in range(0, len(audio), size)] + [own.flush()]
        made.append(
            {name: np.concatenate([getattr(x, name) for x in given]) for name in ("frames", "tokens")}
        )
    return made


def test_it_says_how_it_is_fed(stream: Exported) -> None:
    info = read_model_file(stream.file)
    assert info == stream.info
    assert stream.file.name == "owl-stream.onnx"
    assert info.outputs == ("frames", "frame_lengths", "tokens", "frame_start")
    assert info.stream is not None
    assert info.stream.delay == 5  # two kernels that look 2 frames ahead, and the stem
    assert info.stream.states == {"heard": (0, 2), "past_audio": (0, 1040), "past_frames": (0, 2, 6, 32)}
    assert info.stream.delay * info.hop >= info.lookahead
    assert [(each.seconds, each.threads) for each in info.latency] == [(10.0, 1)]
    assert info.latency[0].milliseconds > 0
    assert "latency, 10 s in steps of 80 ms, 1 thread" in info.card


def test_a_student_that_attends_has_no_step_graph(
    tmp_path: Path,
    make_student: Callable[..., DistilledStudent],
    save_run: Callable[[Path, DistilledStudent], Path],
) -> None:
    run = save_run(tmp_path / "run", make_student("hybrid"))
    with pytest.raises(ConfigError, match="a student of hybrid blocks has no step graph"):
        export_student(run, streaming=True)
    assert [each.name for each in run.iterdir()] == ["student"]
