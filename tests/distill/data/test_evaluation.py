"""Clips for evaluation are found wherever they are named, and refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.distill.data.evaluation import evaluation_clips, is_evaluation, refuse_evaluation
from earkit.runtime.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two corpora, one to test and one to learn from, and clips without a manifest."""
    for place in ("test/deep/er", "learn/deep", "loose"):
        (tmp_path / place).mkdir(parents=True)
        soundfile.write(tmp_path / place / "a.flac", np.full(8000, 0.1), 16_000)
    (tmp_path / "test/manifest.csv").write_text("path,use\ndeep/er/a.flac,evaluation\n")
    (tmp_path / "learn/manifest.csv").write_text("path,use\ndeep/a.flac,train\n")
    return tmp_path


def found(corpus: Corpus) -> list[str]:
    return [clip.name for clip in evaluation_clips(corpus)]


def test_manifests(folder: Path) -> None:
    assert is_evaluation(folder / "test/manifest.csv")
    assert not is_evaluation(folder / "learn/manifest.csv")
    (folder / "mixed.csv").write_text("path,use\na,train\nb,evaluation\n")
    assert is_evaluation(folder / "mixed.csv")
    (folder / "plain.csv").write_text("path\nevaluation\n")
    assert not is_evaluation(folder / "plain.csv")


def test_corpora(folder: Path) -> None:
    assert found(open_corpus(folder / "test")) == ["deep/er/a.flac"]
    assert found(open_corpus(folder / "test/deep")) == ["er/a.flac"]  # its manifest lies above
    assert found(open_corpus(folder / "test/deep/er/a.flac")) == ["a.flac"]
    assert found(open_corpus(folder / "learn")) == []
    assert found(open_corpus(folder / "learn/deep")) == []
    assert found(open_corpus(folder / "loose")) == []
    assert found(open_corpus(folder)) == ["test/deep/er/a.flac"]  # in a folder that has no manifest itself


def test_a_manifest_of_ones_own(folder: Path) -> None:
    (folder / "mine.csv").write_text("path\nloose/a.flac\ntest/deep/er/a.flac\n")
    assert found(open_corpus(folder / "mine.csv")) == ["test/deep/er/a.flac"]


def test_refusal(folder: Path) -> None:
    tested, learned = open_corpus(folder / "test"), open_corpus(folder / "learn")
    with pytest.raises(DataError, match=r"holds 1 clip\(s\) for evaluation only, first deep/er/a\.flac"):
        refuse_evaluation(tested, allowed=False)
    assert refuse_evaluation(tested, allowed=True) == 1
    assert refuse_evaluation(learned, allowed=False) == refuse_evaluation(learned, allowed=True) == 0
