from functools import cache

import numpy as np
import pytest

from earkit.distill.unit_edit_distance import (
    collapsed,
    edit_distance,
    mean_unit_edit_distance,
    unit_edit_distance,
)
from earkit.runtime.errors import DataError


def units(text: str) -> np.ndarray:
    return np.array([ord(c) for c in text], np.int64)


def naive(a: str, b: str) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(a), len(b))


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("kitten", "sitting", 3),
        ("saturday", "sunday", 3),
        ("abc", "", 3),
        ("", "abc", 3),
        ("", "", 0),
        ("abcd", "bcda", 2),
    ],
)
def test_worked_edit_distances(a: str, b: str, distance: int) -> None:
    assert edit_distance(units(a), units(b)) == distance


def test_edit_distance_equals_the_recursive_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = ("".join(rng.choice(list("abc"), rng.integers(0, 12))) for _ in range(2))
        assert edit_distance(units(a), units(b)) == naive(a, b), (a, b)


def test_repeats_collapse_to_one() -> None:
    assert collapsed(np.array([7, 7, 3, 3, 3, 7])).tolist() == [7, 3, 7]
    assert collapsed(np.array([], np.int64)).tolist() == []


def test_time_stretch_costs_nothing() -> None:
    clip = units("abcabd")
    assert unit_edit_distance([clip], [np.repeat(clip, [3, 1, 2, 5, 1, 4])]) == 0


def test_worked_corpus() -> None:
    """Clip 1: abc -> adc is 1 edit of 3 units; clip 2: 1 unit, all 2 edits (replaced, and one inserted)."""
    clean, other = [units("aabbc"), units("xxx")], [units("adddc"), units("yz")]
    assert unit_edit_distance(clean, other) == pytest.approx(3 / 4)
    assert mean_unit_edit_distance(clean, other) == pytest.approx((1 / 3 + 2) / 2)


def test_the_clean_clip_counts_the_units() -> None:
    assert unit_edit_distance([units("ab")], [units("abcd")]) == pytest.approx(1)
    assert unit_edit_distance([units("abcd")], [units("ab")]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("clean", "other", "says"),
    [
        ([], [], "0 clean clips"),
        ([units("a")], [], "1 clean clips and 0 augmented"),
        ([units("a"), units("")], [units("a"), units("b")], "clip 1 has no tokens"),
        ([units("a")], [np.zeros((5, 8), np.int64)], r"clip 0 have the shape \(5, 8\)"),
    ],
)
def test_what_cannot_be_compared(clean: list[np.ndarray], other: list[np.ndarray], says: str) -> None:
    with pytest.raises(DataError, match=says):
        unit_edit_distance(clean, other)
