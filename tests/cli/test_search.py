"""`kit search` as a person runs it; how it searches is tested where that lives."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from earkit.cli.search import search
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError
from earkit.runtime.search.build import Options, build_index
from earkit.runtime.sound_files import find_sounds


def kit(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(search)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


def bursts(rate: int) -> np.ndarray:
    """A second of noise of which every so many frames of 10 ms are loud: the model's embeddings differ."""
    noise = np.random.default_rng(rate).uniform(-0.5, 0.5, 16_000)
    return noise * ((np.arange(16_000) // 160) % rate == 0)


@pytest.fixture
def index(tmp_path: Path, clip_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a file of two seconds and one of one."""
    monkeypatch.chdir(tmp_path)
    Path("sounds").mkdir()
    soundfile.write("sounds/a.wav", np.concatenate([bursts(1), bursts(50)]), 16_000)
    soundfile.write("sounds/b.wav", bursts(3), 16_000)
    soundfile.write("query.wav", bursts(50), 16_000)
    embedder = Embedder.load(clip_model, threads=1)
    options = Options(window=1.0, hop=1.0, codes=True)
    build_index(embedder, find_sounds([Path("sounds")]).paths, Path("sounds"), Path("index"), options)
    return Path("index")


def test_the_nearest_place_comes_first(index: Path, tmp_path: Path) -> None:
    lines = kit(index, "query.wav").stdout.splitlines()
    assert lines[0] == f"1.000\t1.00\t2.00\t{tmp_path / 'sounds' / 'a.wav'}"
    assert len(lines) == 3
    scores = [float(line.split("\t")[0]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_json_has_all_digits_and_the_method(index: Path, tmp_path: Path) -> None:
    answer = json.loads(kit(index, "query.wav", "--top", 1, "--json").stdout)
    assert answer["method"] == "exact"
    (hit,) = answer["hits"]
    assert hit.pop("score") == pytest.approx(1, abs=1e-3)
    assert hit == {"file": str(tmp_path / "sounds" / "a.wav"), "start": 1.0, "end": 2.0}
    answer = json.loads(kit(index, "query.wav", "--method", "sparse", "--json").stdout)
    assert answer["method"] == "sparse"
    assert answer["hits"][0]["start"] == 1.0


def test_an_unfinished_index_says_so(index: Path) -> None:
    head = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps(head | {"pending": 7}))
    assert "7 files are not in the index yet" in kit(index, "query.wav").stderr


def test_what_cannot_be_searched_is_refused(index: Path) -> None:
    with pytest.raises(ConfigError, match="'funnel': take auto, exact, binary, sparse"):
        kit(index, "query.wav", "--method", "funnel")
    with pytest.raises(CheckpointError, match="there is no index in nowhere"):
        kit("nowhere", "query.wav")
    with pytest.raises(AudioError, match=r"cannot read nowhere\.wav"):
        kit(index, "nowhere.wav")
    Path("text.wav").write_text("no sound")
    with pytest.raises(AudioError, match="damaged or not audio"):
        kit(index, "text.wav")


def test_a_model_that_has_gone_is_asked_for(index: Path, clip_model: Path) -> None:
    head = json.loads((index / "index.json").read_text())
    head["model"]["path"] = "gone.onnx"
    (index / "index.json").write_text(json.dumps(head))
    with pytest.raises(CheckpointError, match=r"is no longer gone\.onnx: say with --model where it is"):
        kit(index, "query.wav")
    assert kit(index, "query.wav", "--model", clip_model).stdout.startswith("1.000")
