"""`kit tokens` as a person runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from earkit.cli.tokens import tokens
from earkit.runtime.embedder import Embedder

NAMES = ["a.wav", "b.wav"]


def kit(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(tokens)
    ended = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)
    return ended.stdout


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in NAMES:
        soundfile.write(tmp_path / name, rng.uniform(-0.5, 0.5, 4000), 16_000)
    return tmp_path


def test_tokens(clips: Path, clip_model: Path) -> None:
    wanted = Embedder.load(clip_model).embed([clips / name for name in NAMES], output="tokens")
    lines = kit(clips, "--model", clip_model).splitlines()
    for line, name, given in zip(lines, NAMES, wanted, strict=True):
        assert line == f"{name}\t{' '.join(map(str, given))}"
    (line,) = kit(clips / "b.wav", "--model", clip_model, "--json").splitlines()
    assert json.loads(line) == {"file": "b.wav", "tokens": wanted[1].tolist(), "frame_rate": 100.0}


def test_units(clips: Path, clip_model: Path) -> None:
    given = Embedder.load(clip_model).embed(clips / "b.wav", output="tokens")
    (line,) = kit(clips / "b.wav", "--model", clip_model, "--units", "--json").splitlines()
    answer = json.loads(line)
    assert np.repeat(answer["units"], answer["frames"]).tolist() == given.tolist()
    assert all(before != after for before, after in zip(answer["units"], answer["units"][1:], strict=False))
    plain = kit(clips / "b.wav", "--model", clip_model, "--units")
    assert plain == f"b.wav\t{' '.join(map(str, answer['units']))}\n"
