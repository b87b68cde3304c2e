"""`kit eval` as a person runs it, on a corpus of a few tones."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from earkit.benchmarks import evaluation
from earkit.benchmarks.corpora.build import COLUMNS
from earkit.cli.eval import eval_
from earkit.runtime.errors import ConfigError, DataError


def kit(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(eval_)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def kajongg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Words that are tones, each by two voices."""
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cache" / "corpora" / "kajongg"
    folder.mkdir(parents=True)
    rows = []
    for language in ("de", "en"):
        for voice in "ab":
            for word in range(3):
                path = f"{language}-{voice}-{word}.flac"
                tone = np.sin(np.arange(8000) * (0.1 + 0.3 * word)) * (0.2 if voice == "a" else 0.4)
                soundfile.write(folder / path, tone, 16_000)
                row = {"path": path, "samples": "8000", "sample_rate": "16000", "sha256": path}
                rows.append(row | {"language": language, "speaker": f"{language}{voice}", "label": str(word)})
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        table.writerows(rows)
    return folder


def test_table_json_and_page(kajongg: Path, tmp_path: Path) -> None:
    done = kit("log-mel", "mfcc", "--tasks", "word_retrieval", "--html", tmp_path / "e.html", "--seed", 3)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["word_retrieval:", "1-NN,", "en"]
    assert lines[1].startswith("log-mel")
    assert "100.0" in lines[1]
    told = json.loads((tmp_path / "runs" / "evaluation.json").read_text())
    assert [(cell["model"], cell["task"], cell["seed"]) for cell in told["cells"]] == [
        ("log-mel", "word_retrieval", 3),
        ("mfcc", "word_retrieval", 3),
    ]
    assert told["settings"] == {"seed": 3}
    assert {"git", "packages", "processor"} <= told["machine"].keys()
    chosen = told["cells"][0]["scores"][0]["hyper_parameters"]
    assert chosen["de"].startswith("80 bands")
    page = (tmp_path / "e.html").read_text()
    assert "80 bands" in page
    assert "1-NN, as is, en" in page


def test_a_second_run_does_nothing_again(kajongg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kit("log-mel", "--tasks", "word_retrieval", "--json")
    again = kit("log-mel", "--tasks", "word_retrieval", "--json")
    assert json.loads(first.stdout)["cells"] == json.loads(again.stdout)["cells"]
    assert "log-mel: word_retrieval" in first.stderr
    assert "log-mel: word_retrieval" not in again.stderr
    assert "log-mel: word_retrieval" in kit("log-mel", "--tasks", "word_retrieval", "--no-resume").stderr


def test_other_tasks_are_left_out_aloud(kajongg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: [])
    done = kit("log-mel")
    assert "leaving out digits: the corpus digits is not on this machine" in done.stderr
    assert "kit corpus get uqm --non-free" in done.stderr
    assert done.stdout.splitlines()[0].split() == ["log-mel"]


def test_what_is_unknown_is_one_sentence(kajongg: Path) -> None:
    with pytest.raises(ConfigError, match="there is no task chess; choose among word_retrieval"):
        kit("log-mel", "--tasks", "chess")
    with pytest.raises(DataError, match="`kit corpus get digits`"):
        kit("log-mel", "--tasks", "word_retrieval,digits")
    with pytest.raises(FileNotFoundError, match="no model, teacher, peer or floor owl"):
        kit("log-mel", "owl", "--tasks", "word_retrieval")
