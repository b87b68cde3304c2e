"""`kit quantize` and `kit export --int8` as a person runs them; what they do is tested where it lives."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import typer
from typer.testing import CliRunner

from earkit.cli.export import ExportCommand, export
from earkit.cli.quantize import quantize
from earkit.compress.calibration_clips import CalibrationClips
from earkit.compress.fidelity import Fidelity
from earkit.compress.gate import Candidate, Measured, Speed
from earkit.compress.quantize import Quantized
from earkit.distill.data.corpus import Clip, Corpus
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.student import StudentConfig
from earkit.export.student import Exported
from earkit.runtime.errors import CheckpointError, DataError
from earkit.runtime.model_file import ModelInfo

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
    megabytes=1.25,
)


def row(name: str, speed: float, refusal: str) -> Measured:
    return Measured(
        Candidate(name, "int8", onnx.ModelProto()),
        1.25,
        Fidelity(0.9987, 0.98, 1.0, 0.955, 0.02, {"phones": 0.9951}),
        (Speed(1, 10.0, speed), Speed(2, 6.0, speed)),
        refusal,
    )


ROWS = (row("dynamic int8", 0.5, "not faster with threads: 1"), row("static int8, min-max", 2.0, ""))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the commands ask for; each candidate of `ROWS` was tried, and `chosen` was taken."""
    heard: dict[str, Any] = {"chosen": "static int8, min-max"}

    def pretend(model: Path, clips: CalibrationClips, *, say: object, **options: Any) -> Quantized:
        heard.update(model=model, source=clips.source, **options)
        file = Path("owl-int8.onnx" if heard["chosen"] else "owl.onnx")
        return Quantized(file, file.with_suffix(".md"), INFO, heard["chosen"], ROWS)

    def pretend_export(place: Path, out: Path, **options: Any) -> Exported:
        heard.update(exported=place, **options)
        return Exported(out, out.with_suffix(".md"), INFO)

    places = "earkit.compress.calibration_clips."
    monkeypatch.setattr("earkit.compress.quantize.quantize", pretend)
    monkeypatch.setattr("earkit.runtime.model_file.read_model_file", lambda _: INFO)
    monkeypatch.setattr("earkit.export.student.export_student", pretend_export)
    monkeypatch.setattr(f"{places}clips_of", lambda place: CalibrationClips((), (), f"folder {place}"))
    monkeypatch.setattr(f"{places}embedded_clips", lambda: CalibrationClips((), (), "embedded"))
    return heard


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in `runs` of the working folder."""
    monkeypatch.chdir(tmp_path)
    model = DistilledStudent(StudentConfig(size="custom", dim=32, depth=1, bands=20), Outputs())
    save_student(model, tmp_path / "runs" / "owl" / "student", Provenance())
    return Path("runs") / "owl"


def kit(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(quantize)
    app.command(cls=ExportCommand)(export)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


def test_a_file_without_data_is_calibrated_on_the_embedded_speech_which_is_said(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    model = tmp_path / "owl.onnx"
    model.write_bytes(b"")
    made = kit("quantize", model)
    assert made.stdout == "owl-int8.onnx\n"
    assert "calibrating on the built-in synthetic speech" in made.stderr
    assert (asked["model"], asked["source"], asked["goal"]) == (model, "embedded", "speed")
    assert asked["out"] is None
    assert "folder" not in asked


def test_the_table_shows_what_was_tried_and_why_it_was_refused(asked: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "owl.onnx").write_bytes(b"")
    lines = kit("quantize", tmp_path / "owl.onnx").stderr.splitlines()
    (head,) = (line for line in lines if "cosine" in line)
    assert head.split("  ")[0] == ""
    assert "ms, threads: 1 (x float)" in head
    assert "phones" in head
    (refused,) = (line for line in lines if line.startswith("dynamic"))
    assert refused.endswith("0.9987  0.9800   0.955   0.995  refused: not faster with threads: 1")
    (passes,) = (line for line in lines if line.startswith("static"))
    assert "1.25" in passes
    assert "10.0 (2.00)" in passes
    assert passes.endswith("passes")
    assert lines[-1] == "taking static int8, min-max: 1.25 MB"


def test_a_run_is_exported_in_passing_and_calibrated_on_its_own_clips(
    asked: dict[str, Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "earkit.compress.calibration_clips._parted",
        lambda corpus: CalibrationClips((), (), corpus.source),
    )
    Corpus((Clip("a", "/a.wav", 16_000, 16_000),), (), "the run's").save(run / "data.jsonl")
    made = kit("quantize", "--goal", "size")
    assert made.stdout == "owl-int8.onnx\n"
    assert "taking the newest run with a student, runs/owl" in made.stderr
    assert asked["exported"] == run
    assert (asked["source"], asked["goal"], asked["folder"]) == ("the run's", "size", run)
    assert not asked["model"].exists()
    assert not asked["model"].parent.exists()


def test_other_clips_are_taken_if_given(asked: dict[str, Any], run: Path) -> None:
    kit("quantize", run, "--calibration", "sounds", "--out", "x.onnx")
    assert (asked["source"], asked["out"]) == ("folder sounds", Path("x.onnx"))


@pytest.mark.parametrize(("flag", "goal"), [("--int8", "speed"), ("--int8=size", "size")])
def test_export_quantizes_with_its_own_options(
    asked: dict[str, Any], run: Path, flag: str, goal: str
) -> None:
    made = kit("export", flag, run, "--outputs", "embedding", "--calibration", "sounds")
    assert made.stdout == "owl-int8.onnx\n"
    assert (asked["goal"], asked["outputs"], asked["folder"]) == (goal, ("embedding",), run)
    assert asked["source"] == "folder sounds"


def test_json_holds_all_rows(asked: dict[str, Any], run: Path) -> None:
    told = json.loads(kit("export", run, "--int8", "--calibration", "sounds", "--json").stdout)
    assert told["files"] == ["owl-int8.onnx", "owl-int8.md"]
    assert told["chosen"] == "static int8, min-max"
    assert told["name"] == "owl"
    assert [each["refusal"] for each in told["rows"]] == ["not faster with threads: 1", ""]
    assert told["rows"][1]["speeds"][0] == {"threads": 1, "milliseconds": 10.0, "times_float": 2.0}


def test_when_nothing_pays_it_says_what_else_there_is(asked: dict[str, Any], run: Path) -> None:
    asked["chosen"] = ""
    made = kit("export", run, "--int8", "--calibration", "sounds")
    assert made.exit_code == 0
    assert made.stdout == "owl.onnx\n"
    assert "the float file is kept; for a smaller file give --int8=size" in made.stderr


def test_what_does_not_go_together_is_refused(asked: dict[str, Any], run: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--calibration is of --int8"):
        kit("export", run, "--calibration", "sounds")
    assert "model" not in asked


def test_a_step_graph_is_quantized_too(asked: dict[str, Any], run: Path) -> None:
    kit("export", run, "--int8", "--streaming", "--calibration", "sounds")
    assert asked["streaming"] is True
    assert asked["folder"] == run


def test_a_calibration_folder_without_audio_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earkit.runtime.model_file.read_model_file", lambda _: INFO)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"nothing in .* can be used .*: give wav"):
        kit("quantize", tmp_path / "owl.onnx", "--calibration", tmp_path / "empty")


def test_what_is_no_model_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no model file .*none\.onnx"):
        kit("quantize", tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="there is no student in"):
        kit("quantize", tmp_path)
    (tmp_path / "owl.onnx").write_bytes(b"hoot")
    with pytest.raises(CheckpointError, match=r"owl\.onnx cannot be"):
        kit("quantize", tmp_path / "owl.onnx")
