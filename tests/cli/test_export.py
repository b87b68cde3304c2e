"""`kit export` as a person runs it; the export itself is tested where it lives."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from earkit.cli.export import export
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
