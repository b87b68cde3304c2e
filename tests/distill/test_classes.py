"""Classes of a labelled manifest, as the corpus reads it from disk."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.distill.classes import Classes, held_out, labelled
from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.runtime.errors import ConfigError, DataError


def corpus(folder: Path, rows: list[dict[str, str]]) -> Corpus:
    for row in rows:
        soundfile.write(folder / row["path"], np.full(3200, 0.1), 16000)
    with (folder / "manifest.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, rows[0])
        table.writeheader()
        table.writerows(rows)
    return open_corpus(folder)


def rows(*labels: str) -> list[dict[str, str]]:
    return [{"path": f"{index}.wav", "label": label, "speaker": "s1"} for index, label in enumerate(labels)]


def test_names_are_sorted_and_every_clip_has_its_index(tmp_path: Path) -> None:
    found = corpus(tmp_path, rows("yes", "no", "yes", "maybe"))
    classes = labelled(found)
    assert classes.names == ("maybe", "no", "yes")
    assert [classes.names[i] for i in classes.of_clip] == [clip.labels["label"] for clip in found.clips]
    assert classes.of_clip.dtype == np.int64


def test_another_column(tmp_path: Path) -> None:
    made = rows("yes", "no")
    made[1]["speaker"] = "s0"
    assert labelled(corpus(tmp_path, made), "speaker").names == ("s0", "s1")


def test_no_such_column_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column word \(it has label, speaker\): give a manifest"):
        labelled(corpus(tmp_path, rows("yes", "no")), "word")


def test_a_folder_has_no_labels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(3200, 0.1), 16000)
    with pytest.raises(DataError, match=r"has no column label \(it has no labels at all\)"):
        labelled(open_corpus(tmp_path))


def test_unlabelled_clips_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 4 clips of .* have no label, 1\.wav first: label them"):
        labelled(corpus(tmp_path, rows("yes", "", "no", "")))


def test_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has one class, yes: give at least two in the column label"):
        labelled(corpus(tmp_path, rows("yes", "yes")))


def many(*counts: int) -> Classes:
    of_clip = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    return Classes(tuple(f"c{i}" for i in range(len(counts))), of_clip)


def test_held_out_is_a_partition_of_each_class_alike() -> None:
    classes = many(10, 20, 5)
    train, test = held_out(classes, 0.2, seed=0)
    assert sorted([*train, *test]) == list(range(35))
    assert np.bincount(classes.of_clip[test]).tolist() == [2, 4, 1]
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_every_class_is_on_both_sides(share: float) -> None:
    classes = many(2, 30, 3)
    for side in held_out(classes, share, seed=0):
        assert set(classes.of_clip[side]) == {0, 1, 2}


def test_the_seed_decides() -> None:
    classes = many(30, 30)
    first, again, other = (held_out(classes, 0.3, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_a_class_of_one_clip_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="1 of 3 classes have a single clip, c1 first"):
        held_out(many(4, 1, 4), 0.5, seed=0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_share_that_leaves_one_side_empty(share: float) -> None:
    with pytest.raises(ConfigError, match="held-out share"):
        held_out(many(4, 4), share, seed=0)
