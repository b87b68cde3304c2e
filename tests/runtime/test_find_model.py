"""Which file a name means."""

import logging
import os
from pathlib import Path

import pytest

import earkit.runtime.find_model as find_model_module
from earkit.runtime.errors import CheckpointError
from earkit.runtime.find_model import built_in, find_model


def put(path: Path, age: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
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
def runs(tmp_path: Path) -> Path:
    put(tmp_path / "runs" / "owl" / "owl.onnx", age=2)
    put(tmp_path / "runs" / "owl" / "owl-int8.onnx", age=1)
    put(tmp_path / "runs" / "owl" / "owl-stream.onnx")
    put(tmp_path / "runs" / "owl" / "owl-stream-int8.onnx")
    put(tmp_path / "runs" / "owl" / ".owl.onnx.part.onnx")
    put(tmp_path / "runs" / "owl" / "owl.md")
    put(tmp_path / "runs" / "cat" / "cat.ort", age=3)
    (tmp_path / "runs" / "new").mkdir()
    return tmp_path / "runs"


def test_a_file_is_itself(runs: Path) -> None:
    for file in (runs / "owl" / "owl.onnx", runs / "owl" / "owl-stream.onnx"):
        assert find_model(file) == find_model(str(file)) == file


def test_a_run_is_its_newest_export_but_for_streams(runs: Path) -> None:
    assert find_model(runs / "owl") == runs / "owl" / "owl-int8.onnx"
    assert find_model("cat", runs) == runs / "cat" / "cat.ort"


def test_without_a_name_it_is_the_newest_of_all_runs_which_is_said(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "earkit")
    newest = runs / "owl" / "owl-int8.onnx"
    assert find_model(None, runs) == newest
    assert caplog.messages == [f"taking the model {newest}"]


def test_built_in_models_come_first(ours: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built_in() == {"micro": ours / "micro.ort", "tiny": ours / "tiny.onnx"}
    monkeypatch.chdir(runs)
    put(runs / "micro" / "micro.onnx")
    assert find_model("micro") == ours / "micro.ort"
    assert find_model("./micro") == Path("micro/micro.onnx")
    assert find_model(None, runs) == ours / "tiny.onnx"


@pytest.mark.usefixtures("ours")
def test_what_is_not_there_is_one_sentence(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model smal: .*a built-in model \(micro, tiny\)"):
        find_model("smal", runs)
    with pytest.raises(CheckpointError, match=r"no model file in .*new: make one with `kit export .*new`"):
        find_model(runs / "new")
    (tmp_path / "built in" / "tiny.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"no model file in any run in .*nothing"):
        find_model(None, tmp_path / "nothing")


def test_this_version_has_no_model_inside() -> None:
    # To be replaced by their names when some ship.
    assert built_in() == {}
    with pytest.raises(CheckpointError, match="this version has none"):
        find_model("tiny", Path("nowhere"))
