"""`kit index` as a person runs it; what an index holds is tested where it is made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from earkit.cli.index import index
from earkit.runtime.errors import CheckpointError, ConfigError, DataError, StorageError
from earkit.runtime.search.index import Index


def kit(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(index)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for seconds in (1, 2, 3):
        noise = np.random.default_rng(seconds).uniform(-0.5, 0.5, 16_000 * seconds)
        soundfile.write(folder / f"{seconds}.wav", noise, 16_000)
    return folder


def test_it_says_what_it_did_and_prints_the_index(sounds: Path, tmp_path: Path, clip_model: Path) -> None:
    (sounds / "bad.wav").write_text("no sound")
    (sounds / "foreign.m4a").write_text("no sound")
    soundfile.write(sounds / "low.wav", np.zeros(4000), 8000)
    made = kit(sounds, tmp_path / "index", "--model", clip_model)
    assert made.stdout == f"{tmp_path / 'index'}\n"
    assert "not taken, a format that cannot be read: 1 .m4a" in made.stderr
    assert f"left out: {sounds / 'bad.wav'} is damaged or not audio" in made.stderr
    assert "4 files, 5 spans, " in made.stderr
    assert "; 4 embedded; 1 left out; 1 resampled\n" in made.stderr


def test_json_says_it_in_numbers(sounds: Path, tmp_path: Path, clip_model: Path) -> None:
    (sounds / "bad.wav").write_text("no sound")
    options = ("--window", 1, "--hop", 0.5, "--int8", "--codes")
    made = kit(sounds, tmp_path / "index", "--model", clip_model, *options, "--json")
    answer = json.loads(made.stdout)
    assert answer["index"] == str(tmp_path / "index")
    assert answer["model"] == str(clip_model)
    assert (answer["files"], answer["spans"], answer["embedded"]) == (3, 1 + 3 + 5, 3)
    assert list(answer["skipped"]) == ["bad.wav"]
    settings = Index(tmp_path / "index").head.settings
    assert (settings.window, settings.hop) == (16_000, 8_000)
    assert (settings.vectors, settings.codes, settings.graph) == ("int8", True, False)


def test_again_it_needs_no_options(
    sounds: Path, tmp_path: Path, clip_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no other model
    kit(sounds, "index", "--model", clip_model, "--window", 1, "--hop", 1)
    (sounds / "3.wav").unlink()
    made = kit("sounds", "index")
    assert "2 files, 3 spans, " in made.stderr
    assert "; 2 kept; 1 dropped\n" in made.stderr
    with pytest.raises(ConfigError, match="another hop"):
        kit(sounds, "index", "--hop", 0.5)
    kit(sounds, "index", "--hop", 0.5, "--fresh", "--model", clip_model)
    assert Index("index").head.settings.hop == 8_000


def test_a_model_that_has_gone_is_asked_for(
    sounds: Path, tmp_path: Path, write_clip_graph: Callable[..., Path]
) -> None:
    model = write_clip_graph(tmp_path / "model.onnx")
    kit(sounds, tmp_path / "index", "--model", model)
    moved = model.rename(tmp_path / "moved.onnx")
    with pytest.raises(CheckpointError, match=r"is no longer .*model\.onnx: say with --model where it is"):
        kit(sounds, tmp_path / "index")
    assert "; 3 kept\n" in kit(sounds, tmp_path / "index", "--model", moved).stderr
    assert Index(tmp_path / "index").head.model.path == str(moved)


def test_without_a_folder_of_sounds_there_is_no_index(tmp_path: Path, clip_model: Path) -> None:
    with pytest.raises(DataError, match="there is nothing at"):
        kit(tmp_path / "nowhere", tmp_path / "index", "--model", clip_model)
    with pytest.raises(typer.BadParameter, match="is no folder"):
        kit(clip_model, tmp_path / "index", "--model", clip_model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no sound in"):
        kit(tmp_path / "empty", tmp_path / "index", "--model", clip_model)
    assert not (tmp_path / "index").exists()


def test_a_folder_of_something_else_stays_as_it_is(sounds: Path, tmp_path: Path, clip_model: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match="choose another folder"):
        kit(sounds, tmp_path / "thesis", "--model", clip_model)


def test_spans_begin_every_half_window(sounds: Path, tmp_path: Path, clip_model: Path) -> None:
    kit(sounds, tmp_path / "index", "--model", clip_model, "--window", 0.5)
    assert Index(tmp_path / "index").head.settings.hop == 4_000
    kit(sounds, tmp_path / "index", "--model", clip_model, "--fresh")
    settings = Index(tmp_path / "index").head.settings
    assert (settings.window, settings.hop) == (32_000, 16_000)


def test_impossible_windows_are_refused(sounds: Path, tmp_path: Path, clip_model: Path) -> None:
    for window, hop in ((1, 2), (0, 0), (-1, -1)):
        with pytest.raises(ConfigError, match="cannot be"):
            kit(sounds, tmp_path / "index", "--model", clip_model, "--window", window, "--hop", hop)
