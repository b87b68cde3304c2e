"""`kit corpus`: synth says that it is synthetic; synth, list and get answer with what there is."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from earkit.benchmarks.corpora import build, sets
from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.cli import corpus
from earkit.distill.speech.synthetic_corpus import read_labels
from earkit.runtime.audio import Audio
from earkit.runtime.errors import ConfigError, DataError


def synth(out: Path, *options: str) -> Result:
    return CliRunner().invoke(
        corpus.app, ["synth", str(out), "--minutes", "0.2", "--speakers", "2", *options]
    )


def test_the_answer_is_data_and_the_talk_is_not(tmp_path: Path) -> None:
    answer = synth(tmp_path / "c", "--json")
    assert answer.exit_code == 0
    facts = json.loads(answer.stdout)
    clips = read_labels(tmp_path / "c" / "manifest.csv")
    assert facts == {
        "manifest": str(tmp_path / "c" / "manifest.csv"),
        "clips": len(clips),
        "minutes": pytest.approx(0.2, abs=0.1),
        "speakers": 2,
    }
    assert "synthetic" in answer.stderr
    assert "\r" not in answer.stderr  # a living line is for terminals


def test_the_text_says_the_same(tmp_path: Path) -> None:
    answer = synth(tmp_path / "c")
    lines = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())
    assert lines["manifest"] == str(tmp_path / "c" / "manifest.csv")
    assert lines["speakers"] == "2"
    assert set(lines) == {"manifest", "clips", "minutes", "speakers"}


def test_the_seed_reaches_the_corpus(tmp_path: Path) -> None:
    texts = []
    for seed in ("0", "1"):
        synth(tmp_path / seed, "--seed", seed)
        texts.append([clip.text for clip in read_labels(tmp_path / seed / "manifest.csv")])
    assert texts[0] != texts[1]


def test_errors_are_left_to_main(tmp_path: Path) -> None:
    synth(tmp_path / "c")
    assert isinstance(synth(tmp_path / "c", "--seed", "9").exception, DataError)
    assert isinstance(synth(tmp_path / "d", "--minutes", "-1").exception, ConfigError)


def test_a_terminal_sees_one_living_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for share in (0.5, 1.0):
        corpus._show(share)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.endswith("100%\n")
    assert " 50%" in shown.err


def beeps(_: Folders) -> Iterator[Sound]:
    for name, level in (("a", 0.5), ("b", 0.0), ("c", 0.25)):
        yield Sound(name, "beeper", lambda level=level: Audio(np.full(57_600, level, np.float32), 8000, 1))


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three corpora of two good clips each, whose package needs no network."""
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    sources = (Source(Package("apt", "beeper", "1.0"), "0" * 64, "CC0-1.0"),)
    made = (
        Recipe("tests", "to test on", "evaluation", sources, beeps, 0.002),
        Recipe("learns", "to learn from", "train", sources, beeps, 0.3, note="most of it is missing"),
        Recipe("locked", "not for all", "train", sources, beeps, 5.0, free=False),
    )
    monkeypatch.setattr(sets, "RECIPES", made)
    monkeypatch.setattr(build, "fetch_all", lambda *_: tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(corpus.app, list(words))


@pytest.mark.usefixtures("recipes")
def test_get_answers_with_what_it_made(tmp_path: Path) -> None:
    answer = run("get", "--eval", "--json")
    (made,) = json.loads(answer.stdout)
    assert made["manifest"] == str(tmp_path / "corpora/tests/manifest.csv")
    assert (made["clips"], made["hours"], made["dropped"]) == (2, 0.002, {"silent": 1})
    answer = run("get", "learns", "tests")
    first, *_ = answer.stdout.splitlines()
    assert first.split() == ["tests", "2", "clips", "0.00", "h", "of", "0.00", made["manifest"]]
    assert answer.stdout.count("left out: 1 silent") == 2
    assert answer.stdout.count("most of it is missing") == 1
    assert answer.stderr == ""  # a living line is for terminals
    assert not (tmp_path / "corpora/locked").exists()


@pytest.mark.usefixtures("recipes")
def test_list_says_what_is_here(tmp_path: Path) -> None:
    run("get", "--train", "--non-free")
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert {name: row["use"] for name, row in rows.items()} == {
        "tests": "evaluation",
        "learns": "train",
        "locked": "train",
    }
    assert rows["tests"]["manifest"] is None
    assert rows["tests"]["hours"] == 0.002
    assert rows["learns"]["manifest"] == str(tmp_path / "corpora/learns/manifest.csv")
    assert rows["learns"]["hours"] == 0.002  # as made, not as expected
    text = [line.split() for line in run("list").stdout.splitlines()]
    assert [line[:5] for line in text] == [
        ["tests", "evaluation", "0.00", "h", "-"],
        ["learns", "train", "0.00", "h", "here"],
        ["locked", "train", "0.00", "h", "here"],
    ]


@pytest.mark.usefixtures("recipes")
def test_get_leaves_its_errors_to_main() -> None:
    assert isinstance(run("get").exception, ConfigError)
    assert isinstance(run("get", "libri").exception, ConfigError)


def test_a_terminal_sees_the_conversion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus._show_conversion("sky", 1, 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    corpus._show_conversion("sky", 1, 2)
    corpus._show_conversion("sky", 2, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "\r\x1b[Ksky: 1/2\r\x1b[Ksky: 2/2\n"
