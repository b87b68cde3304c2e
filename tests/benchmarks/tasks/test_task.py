"""Dividing by groups, and finding what stands on both sides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.tasks.task import Split, Task, leaks, leave_one_out
from earkit.distill.data.manifests import Row


def rows() -> list[Row]:
    """Six clips of three speakers; the last two share their sound."""
    return [
        Row(i, f"{i}.flac", Path(f"{i}.flac"), 16_000, 16_000, {"speaker": who, "sha256": sound})
        for i, (who, sound) in enumerate(zip("aabbcc", "stuvww", strict=True))
    ]


def task(*splits: Split) -> Task:
    return Task("t", "", (), ("sha256", "speaker"), list, lambda _: list(splits), lambda *_: [])


def places(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_leave_one_out() -> None:
    splits = leave_one_out(["x", "y", "x", "z"])
    assert [split.name for split in splits] == ["x", "y", "z"]
    assert [(s.train.tolist(), s.test.tolist()) for s in splits] == [
        ([1, 3], [0, 2]),
        ([0, 2, 3], [1]),
        ([0, 1, 2], [3]),
    ]
    inner = [(a.tolist(), b.tolist()) for a, b in splits[1].inner]
    assert inner == [([3], [0, 2]), ([0, 2], [3])]


def test_at_most_so_many_parts_choose_each_group_once() -> None:
    (first, *_) = leave_one_out([str(k) for k in range(10)], inner=4)
    assert len(first.inner) == 4
    assert sorted(np.concatenate([held for _, held in first.inner]).tolist()) == list(range(1, 10))


def test_a_good_split_has_no_leak() -> None:
    split = Split("s", places(0, 1, 2, 3), places(4, 5), ((places(0, 1), places(2, 3)),))
    assert leaks(task(split), rows()) == []


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (Split("s", places(0, 2), places(1, 3)), "train and test: speaker a"),
        (Split("s", places(0, 4), places(5)), "train and test: sha256 w"),
        (Split("s", places(0, 1), places(1, 2)), "train and test: path 1.flac"),
        (Split("s", places(0, 1, 2), places(4), ((places(0), places(1, 2)),)), "learn and choose: speaker a"),
        (Split("s", places(0, 1, 2), places(4), ((places(0, 1), places(5)),)), "not from what trains"),
    ],
)
def test_a_leak_is_found(split: Split, says: str) -> None:
    assert any(says in leak for leak in leaks(task(split), rows()))


def test_what_is_one_everywhere_cannot_part_the_choice() -> None:
    """Training from one package: learning and choosing share it, which is no leak; a test from it is one."""
    packaged = [replace(row, labels={**row.labels, "package": "p"}) for row in rows()]
    split = Split("s", places(0, 1, 2, 3), places(4), ((places(0, 1), places(2, 3)),))
    of_packages = replace(task(split), apart=("package",))
    assert [leak for leak in leaks(of_packages, packaged) if "choose" in leak] == []
    assert leaks(of_packages, packaged) == ["t, s, train and test: package p"]
