"""`kit info` as a person runs it."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from earkit.cli.info import info


def kit(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(info)
    ended = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)
    return ended.stdout


def test_info(clip_model: Path) -> None:
    text = kit(clip_model)
    assert text.startswith(f"{clip_model}: {clip_model.stat().st_size / 1e6:.2f} MB\n")
    assert "# loudness\n" in text
    assert "may be cut to 2, 4" in text
    answer = json.loads(kit(clip_model.parent, "--json"))
    assert (answer["file"], answer["bytes"]) == (str(clip_model), clip_model.stat().st_size)
    assert (answer["name"], answer["hop"]) == ("loudness", 160)


def test_info_of_a_step_graph(step_graph: Path) -> None:
    assert "# energies\n" in kit(step_graph)
