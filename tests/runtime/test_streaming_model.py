"""Step graphs that are found and opened, and those that are refused in one sentence."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.streaming_model import StreamingModel, find_step_graph

Write = Callable[..., Path]

DATA = Path(__file__).parents[1] / "data"
CLIP_GRAPH = """<ir_version: 10, opset_import: ["" : 20]>
clip (float[batch, samples] audio, int64[batch] lengths)
  => (float[batch, samples] frames, int64[batch] frame_lengths)
{
  frames = Identity (audio)
  frame_lengths = Identity (lengths)
}
"""


def test_it_knows_its_file_and_its_delay(step_graph: Path) -> None:
    model = StreamingModel.load(str(step_graph), threads=2)
    assert (model.path, model.info.name, model.delay) == (step_graph, "energies", 2)


def test_a_step_continues_where_its_states_are(step_graph: Path) -> None:
    model = StreamingModel.load(step_graph)
    ones = np.ones(160, np.float32)
    _, states = model.step(ones, 160, model.initial_states)
    made, _ = model.step(2 * ones, 160, states)
    assert made["frames"].tolist() == [[0, 0, 160, 640]]
    assert (made["frame_start"], made["frame_lengths"]) == (-1, 2)
    made, _ = model.step(2 * ones, 160, model.initial_states)
    assert made["frames"].tolist() == [[0, 0, 0, 640]]


def test_the_newest_step_graph_is_taken_and_named(
    tmp_path: Path, write_step_graph: Write, write_clip_graph: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "earkit")
    for age, name in enumerate(["b/b.onnx", "a/a-stream-int8.onnx", "a/a-stream.onnx"]):
        os.utime(write_step_graph(tmp_path / name), (1000 - age, 1000 - age))
    for name in ("a/a.onnx", "c/c-stream.onnx"):  # newer, and of whole clips in spite of its name
        write_clip_graph(tmp_path / name)
    write_step_graph(tmp_path / "a" / "a-stream-fixed.onnx", samples=1280)
    assert find_step_graph(None, runs=tmp_path) == tmp_path / "b" / "b.onnx"
    assert find_step_graph(tmp_path / "a") == tmp_path / "a" / "a-stream-int8.onnx"
    assert find_step_graph(Path("a"), runs=tmp_path) == tmp_path / "a" / "a-stream-int8.onnx"
    assert caplog.messages == [
        f"taking the newest step graph, {tmp_path / name}"
        for name in ("b/b.onnx", *["a/a-stream-int8.onnx"] * 2)
    ]
    file = tmp_path / "c" / "c-stream.onnx"
    assert find_step_graph(file) == file
    with pytest.raises(
        CheckpointError, match=r"no step graph in .*c: make one with `kit export .*c --stream"
    ):
        find_step_graph(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"no step graph in any run in .*`kit export --streaming`"):
        find_step_graph(None, runs=tmp_path / "b")


def test_a_step_of_one_shape_is_refused(tmp_path: Path, write_step_graph: Write) -> None:
    file = write_step_graph(tmp_path / "m-fixed.onnx", samples=1280)
    with pytest.raises(
        CheckpointError, match=r"m-fixed\.onnx takes 1280 samples and nothing else, for phones"
    ):
        StreamingModel.load(file)


def test_a_model_of_whole_clips_is_refused(tmp_path: Path, write_step_graph: Write) -> None:
    text = ((DATA / "step_graph.txt").read_text(encoding="utf-8"), CLIP_GRAPH)
    outputs = ("frames", "frame_lengths")
    file = write_step_graph(tmp_path / "m.onnx", text, stream=None, tokens=None, outputs=outputs)
    with pytest.raises(CheckpointError, match=r"m.onnx is for whole clips .* with `kit export RUN --stream"):
        StreamingModel.load(file)


DAMAGE = {
    "delay": (("", ""), {"stream": {"delay": 3, "states": {"heard": [0, 2], "past": [0, 3]}}}),
    "width of a state": (("", ""), {"stream": {"delay": 2, "states": {"heard": [0, 2], "past": [0, 4]}}}),
    "axes of a state": (("", ""), {"stream": {"delay": 2, "states": {"heard": [0, 2], "past": []}}}),
    "width of frames": (("", ""), {"frame_dim": 5}),
    "hop": (("", ""), {"hop": 200}),
    "type of a state": (("int64[batch, 2] heard", "int32[batch, 2] heard"), {}),
    "next state": (("last_three = {-3}", "last_three = {-2}"), {}),
    "no batch": (("frame_start = Sub (hops_before, delay)", "frame_start = Identity (zero)"), {}),
    "taps": (("float[4, 1, 4] taps = {1, 0, 0, 0,  0", "float[3, 1, 4] taps = {0"), {}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_graph_that_is_not_as_it_says_is_refused_when_it_is_opened(
    damage: str, tmp_path: Path, write_step_graph: Write
) -> None:
    text, changes = DAMAGE[damage]
    file = write_step_graph(tmp_path / "m-stream.onnx", text, **changes)
    with pytest.raises(CheckpointError, match=r"m-stream.onnx") as refused:
        StreamingModel.load(file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", [b'"schema"', b"frame_start", b"past"])
def test_bytes_that_are_no_text_are_refused(
    place: bytes, tmp_path: Path, step_graph: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m-stream.onnx"
    file.write_bytes(step_graph.read_bytes().replace(place, b"\xff" * len(place)))
    with pytest.raises(CheckpointError, match=r"m-stream.onnx"):
        StreamingModel.load(file)
    assert capfd.readouterr().out == ""


def test_no_threads_are_refused(step_graph: Path) -> None:
    with pytest.raises(ConfigError, match="cannot run on 0 threads"):
        StreamingModel.load(step_graph, threads=0)
