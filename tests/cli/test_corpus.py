"""`kit corpus synth` makes a corpus, says that it is synthetic, and answers with what it made."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from earkit.cli import corpus
from earkit.distill.speech.synthetic_corpus import read_labels
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
