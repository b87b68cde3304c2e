"""Which file a name means."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import earkit.runtime.find_model as find_model_module
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import CheckpointError
from earkit.runtime.find_model import built_in, find_model, newest_export
from earkit.runtime.model_file import read_model_file

Write = Callable[..., Path]


def put(path: Path, age: int = 0) -> Path:
    """A file that is not opened to find it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return aged(path, age)


def aged(path: Path, age: int) -> Path:
    os.utime(path, (1000 - age, 1000 - age))
    return path


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of built-in models, `tiny` and `micro`."""
    folder = tmp_path / "built in"
    monkeypatch.setattr(find_model_module, "BUILT_IN", folder)
    put(folder / "tiny.onnx")
    put(folder / "micro.ort")
    put(folder / "README.md")
    return folder


@pytest.fixture
def runs(tmp_path: Path, write_clip_graph: Write, write_step_graph: Write) -> Path:
    runs = tmp_path / "runs"
    for age, name in enumerate(("owl-int8.onnx", "live-stream.onnx", "owl.onnx"), start=1):
        aged(write_clip_graph(runs / "owl" / name), age)
    for name in ("owl-stream.onnx", "owl-stream-int8.onnx", "other.onnx"):
        aged(write_step_graph(runs / "owl" / name), 0)
    aged(write_clip_graph(runs / "owl" / "owl-fixed.onnx", samples=80_000), 0)
    put(runs / "owl" / ".owl.onnx.part.onnx")
    put(runs / "owl" / "owl.md")
    (runs / "owl" / "gone.onnx").symlink_to(runs / "nowhere.onnx")
    aged(write_clip_graph(runs / "cat" / "cat.onnx"), 4)
    (runs / "new").mkdir()
    return runs


def test_a_file_is_itself(runs: Path) -> None:
    for file in (runs / "owl" / "owl.onnx", runs / "owl" / "owl-stream.onnx"):
        assert find_model(file) == find_model(str(file)) == file


def test_a_run_is_its_newest_export_of_whole_clips_whatever_its_name(runs: Path) -> None:
    assert find_model(runs / "owl") == runs / "owl" / "owl-int8.onnx"
    (runs / "owl" / "owl-int8.onnx").unlink()
    assert find_model(runs / "owl") == runs / "owl" / "live-stream.onnx"
    assert find_model("cat", runs) == runs / "cat" / "cat.onnx"


def test_a_run_with_nothing_but_streams_has_none(runs: Path) -> None:
    for name in ("owl.onnx", "owl-int8.onnx", "live-stream.onnx"):
        (runs / "owl" / name).unlink()
    with pytest.raises(CheckpointError, match=r"no model file of whole clips in .*owl: make one with"):
        find_model(runs / "owl")


def test_a_newer_file_that_is_no_model_of_ours_is_passed_over_which_is_said(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for age, name in enumerate(("owl-newer.onnx", "owl-new.ort"), start=-2):
        put(runs / "owl" / name, age)
    assert find_model(runs / "owl") == runs / "owl" / "owl-int8.onnx"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    for message, name in zip(warned, ("owl-newer.onnx", "owl-new.ort"), strict=True):
        assert message.startswith(f"passed over: {runs / 'owl' / name} cannot be ")


def test_where_nothing_else_fits_the_newest_of_those_passed_over_is_the_error(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("owl.onnx", "owl-int8.onnx", "live-stream.onnx"):
        (runs / "owl" / name).unlink()
    for age, name in enumerate(("owl-newer.onnx", "owl-new.ort"), start=-2):
        put(runs / "owl" / name, age)
    with pytest.raises(CheckpointError, match=r"owl-newer\.onnx cannot be"):
        find_model(runs / "owl")
    assert not caplog.records


def test_without_a_name_it_is_the_built_in_one_which_is_said(
    ours: Path, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "earkit")
    assert find_model(None, runs) == ours / "tiny.onnx"
    assert caplog.messages == ["taking the model tiny that comes with earkit"]


def test_the_newest_export_of_all_runs(runs: Path) -> None:
    assert newest_export(runs) == runs / "owl" / "owl-int8.onnx"
    assert newest_export(runs / "new") is None


def test_built_in_models_come_first(
    ours: Path,
    runs: Path,
    write_clip_graph: Write,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert built_in() == {"micro": ours / "micro.ort", "tiny": ours / "tiny.onnx"}
    monkeypatch.chdir(runs)
    write_clip_graph(runs / "micro" / "micro.onnx")
    assert find_model("micro") == ours / "micro.ort"
    assert not caplog.records
    assert find_model("micro", Path()) == ours / "micro.ort"
    assert caplog.messages == ["taking the model micro that comes with earkit: that of a run is micro"]
    assert find_model("./micro") == Path("micro/micro.onnx")


@pytest.mark.usefixtures("ours")
def test_what_is_not_there_is_one_sentence(runs: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model smal: .*a built-in model \(micro, tiny\)"):
        find_model("smal", runs)
    with pytest.raises(
        CheckpointError, match=r"no model file of whole clips in .*new: make one with `kit export .*new`"
    ):
        find_model(runs / "new")


def test_the_model_that_comes_with_earkit() -> None:
    assert list(built_in()) == ["tiny"]
    model = Embedder.load("tiny")
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    vector = model.embed(sound, sample_rate=16_000)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    whole, cut = (model.embed(sound[:n], sample_rate=16_000, dim=64) for n in (16_000, 12_000))
    assert 0.2 < whole @ cut < 0.9999
    file = built_in()["tiny"]
    info = read_model_file(file)
    assert info.licences
    assert file.with_suffix(".md").read_text(encoding="utf-8") == info.card
