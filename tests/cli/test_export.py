"""`kit export` as a person runs it; the export itself is tested where it lives."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from earkit.cli.export import export
from earkit.cli.main import main
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.student import StudentConfig
from earkit.export.mobile import Mobile
from earkit.export.mobile_usability import Usability
from earkit.export.student import Exported
from earkit.runtime.errors import CheckpointError
from earkit.runtime.model_file import Latency, ModelInfo

INFO = ModelInfo(
    schema=1,
    name="owl",
    outputs=("embedding",),
    dim=8,
    frame_dim=8,
    sample_rate=16_000,
    hop=640,
    lookahead=0,
    context=0,
    drift={"embedding": 2e-6},
    latency=(Latency(10.0, 1, 20.0),),
    megabytes=1.5,
)


def kit(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks for; it is told that `owl.onnx` was written."""
    heard: dict[str, Any] = {}

    def pretend(place: Path | None, out: Path | None, *, say: object, **options: Any) -> Exported:
        heard.update(place=place, out=out, **options)
        return Exported(Path("owl.onnx"), Path("owl.md"), INFO)

    monkeypatch.setattr("earkit.export.student.export_student", pretend)
    return heard


def test_without_arguments_it_takes_the_newest_run_and_prints_the_file(asked: dict[str, Any]) -> None:
    made = kit()
    assert made.stdout == "owl.onnx\n"
    assert "1.50 MB, at most 2.0e-06 from torch; 20.0 ms for 10 s of audio, threads: 1" in made.stderr
    assert asked == {
        "place": None,
        "out": None,
        "outputs": (),
        "depth": None,
        "codebook": None,
        "streaming": False,
    }


def test_what_is_asked_for_arrives(asked: dict[str, Any]) -> None:
    options = (
        "--out",
        "x.onnx",
        "--outputs",
        "embedding, tokens",
        "--depth",
        2,
        "--codebook",
        0,
        "--streaming",
    )
    made = kit("runs/owl", *options, "--json")
    assert json.loads(made.stdout)["files"] == ["owl.onnx", "owl.md"]
    assert json.loads(made.stdout)["megabytes"] == 1.5
    assert asked == {
        "place": Path("runs/owl"),
        "out": Path("x.onnx"),
        "outputs": ("embedding", "tokens"),
        "depth": 2,
        "codebook": 0,
        "streaming": True,
    }


def test_without_a_run_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="make one with `kit distill`"):
        kit()


def test_for_phones_it_says_what_the_check_found(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(file: Path, seconds: float) -> Mobile:
        asked["phone"] = (file, seconds)
        found = (Usability("NNAPI", 10, 7, 3, ("TopK",), "no"), Usability("CoreML", 10, 10, 1, (), "yes"))
        return Mobile(Path("a.ort"), Path("a.config"), Path("a-fixed.onnx"), Path("a-fixed.md"), found)

    monkeypatch.setattr("earkit.export.mobile.for_phones", pretend)
    made = kit("runs/owl", "--mobile", "--mobile-seconds", 1.5, "--json")
    assert asked["phone"] == (Path("owl.onnx"), 1.5)
    assert json.loads(made.stdout)["files"][2:] == ["a.ort", "a.config", "a-fixed.onnx", "a-fixed.md"]
    lines = made.stderr.splitlines()
    assert "NNAPI: worth a try: no; 7 of 10 nodes of a-fixed.onnx in 3 partitions; lacks TopK" in lines
    assert "CoreML: worth a try: yes; 10 of 10 nodes of a-fixed.onnx in 1 partitions" in lines


@pytest.fixture
def broken_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs that cannot be exported, and `owl`, which could."""
    monkeypatch.chdir(tmp_path)
    model = DistilledStudent(StudentConfig(size="custom", dim=32, depth=1, bands=20), Outputs())
    for name in ("owl", "half_json", "half_weights", "no_tensor"):
        save_student(model, tmp_path / "runs" / name / "student", Provenance(name=name))
    student = tmp_path / "runs" / "half_json" / "student" / "student.json"
    student.write_text(student.read_text()[:200])
    weights = tmp_path / "runs" / "half_weights" / "student" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    weights = tmp_path / "runs" / "no_tensor" / "student" / "student.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if k != "student.stem.weight"}, weights)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "silent").mkdir()
    (tmp_path / "silent" / "notes.txt").write_text("no sound")
    return tmp_path


@pytest.fixture
def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The whole command line: with what code it ends, and what it says. Clips cost more than all the rest."""
    monkeypatch.setattr("earkit.compress.calibration_clips.embedded_clips", lambda: None)
    monkeypatch.setattr(logging.getLogger("earkit"), "handlers", [])

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kit", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        ("export runs/half_json", 4, "runs/half_json/student is not a whole student folder"),
        ("export runs/half_weights", 4, "runs/half_weights/student is not a whole student folder"),
        ("export runs/no_tensor", 4, 'student.stem.weight"'),
        ("export runs/no_tensor --int8", 4, "Missing key(s)"),
        ("export runs/owl --int8 --outputs smell", 2, "this student gives no smell"),
        ("export runs/no_tensor --streaming", 4, "runs/no_tensor/student is not a whole student folder"),
        ("export runs/owl --out file/owl.onnx", 5, "could not write file/owl.onnx: "),
        (
            "export runs/owl --out folder.onnx",
            5,
            "could not write folder.onnx: there is a folder of that name",
        ),
        ("export runs/owl --int8 --out file/owl.onnx", 5, "could not write file/owl.onnx: "),
        ("export runs/owl --int8 --out folder.onnx", 5, "could not write folder.onnx: there is a folder"),
        (
            "export runs/owl --outputs embedding,smell",
            2,
            "this student gives no smell: take some of embedding",
        ),
        ("export runs/owl --outputs embedding --streaming", 2, "gives no embedding in a stream"),
        ("export runs/owl --int8 --calibration silent", 3, "nothing in silent can be used"),
        ("quantize runs/owl --calibration silent", 3, "nothing in silent can be used"),
        ("quantize runs/no_tensor", 4, "runs/no_tensor/student is not a whole student folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    broken_runs: Path, ended: Callable[..., tuple[int, str, str]], command: str, code: int, sentence: str
) -> None:
    before = sorted(broken_runs.rglob("*"))
    given, out, err = ended(*command.split())
    assert (given, out) == (code, "")
    (line,) = (line for line in err.splitlines() if line.startswith("kit: "))
    assert sentence in line
    assert "Traceback" not in err
    assert sorted(broken_runs.rglob("*")) == before
