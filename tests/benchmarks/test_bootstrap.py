"""Intervals against the normal one, against all draws by hand, and by how often they hold the truth."""

import numpy as np
import pytest

from earkit.benchmarks.bootstrap import draw_groups, mean_interval, percentiles, statistic_interval
from earkit.benchmarks.unit_quality import joint_counts, pnmi
from earkit.runtime.errors import DataError


def test_against_the_normal_interval() -> None:
    """Many groups of ten equal scores: only the groups count, so the deviation is that of 400 means."""
    means = np.random.default_rng(0).normal(0.5, 0.1, 400)
    groups = np.repeat([f"s{i:03}" for i in range(400)], 10)
    half = 1.96 * means.std() / 20
    expected = (means.mean() - half, means.mean() + half)
    assert mean_interval(np.repeat(means, 10), groups, seed=0) == pytest.approx(expected, abs=0.1 * half)


def test_groups_weigh_by_their_clips() -> None:
    """Groups of 3 ones and 1 zero, drawn twice: the mean is 0 (1 in 4), 3/4 (half) or 1 (1 in 4)."""
    scores, groups = np.array([1.0, 1, 1, 0]), np.array(["x", "x", "x", "y"])
    assert mean_interval(scores, groups, seed=0) == (0, 1)


def test_a_mean_as_a_statistic_has_the_interval_of_a_mean() -> None:
    means = np.random.default_rng(0).normal(0.5, 0.1, 50)
    given = statistic_interval(lambda times: float(times @ means / times.sum()), 50, seed=1, draws=4000)
    expected = mean_interval(means, np.arange(50).astype(str), seed=2)
    assert given == pytest.approx(expected, abs=0.004)


def test_a_figure_that_repetition_raises_lies_within_its_interval() -> None:
    """Units that know nothing of phones: the fewer different sentences, the more they seem to know."""
    rng = np.random.default_rng(0)
    counts = np.stack(
        [joint_counts(rng.integers(0, 9, 20), rng.integers(0, 30, 20), (9, 30)) for _ in range(40)]
    )
    drawn = draw_groups(40, 200, 0)
    figure = pnmi(counts.sum(axis=0))
    assert min(pnmi(np.tensordot(times, counts, 1)) for times in drawn) > figure
    low, high = statistic_interval(lambda times: pnmi(np.tensordot(times, counts, 1)), 40, seed=0, draws=200)
    assert low < figure < high
    assert high - low < 0.1


def test_classes_weigh_the_same_and_may_be_missing_from_a_draw() -> None:
    """Group x has class a right, twice; y has b wrong: draws are xx (a alone: 1), yy (0), xy (1/2)."""
    scores, groups = np.array([1.0, 1, 0]), np.array(["x", "x", "y"])
    classes = np.array(["a", "a", "b"])
    drawn = draw_groups(2, 10_000, 0)
    values = np.array([{2: 1.0, 0: 0.0, 1: 0.5}[int(n)] for n in drawn[:, 0]])
    assert mean_interval(scores, groups, 0, classes=classes) == percentiles(values)
    assert values.mean() == pytest.approx(0.5, abs=0.02)
    assert np.median(values) == 0.5  # of clips it would be 2/3


def test_each_draw_has_as_many_groups() -> None:
    drawn = draw_groups(7, 500, 3)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)


@pytest.mark.parametrize(("groups", "least", "most"), [(40, 0.90, 0.97), (10, 0.86, 0.94), (4, 0.74, 0.85)])
def test_coverage_of_a_known_mean(groups: int, least: float, most: float) -> None:
    """Clips of a speaker share his luck: of many experiments, how many intervals hold the true mean?"""
    rng = np.random.default_rng(groups)
    names = np.repeat([f"s{i}" for i in range(groups)], 5)
    held = []
    for seed in range(400):
        luck = rng.normal(0.6, 0.1, groups)
        scores = np.repeat(luck, 5) + rng.normal(0, 0.1, 5 * groups)
        low, high = mean_interval(scores, names, seed, draws=400)
        held.append(low <= 0.6 <= high)
    assert least < np.mean(held) < most, np.mean(held)


def test_ignoring_groups_would_be_too_sure() -> None:
    """The same experiment with clips drawn one by one fails far too often: groups are what matters."""
    rng = np.random.default_rng(0)
    held = []
    for seed in range(100):
        scores = np.repeat(rng.normal(0.6, 0.1, 20), 10)
        low, high = mean_interval(scores, np.arange(200).astype(str), seed, draws=400)
        held.append(low <= 0.6 <= high)
    assert np.mean(held) < 0.6


def test_one_group_has_no_interval() -> None:
    with pytest.raises(DataError, match="two of them or more"):
        mean_interval(np.ones(3), np.array(["x", "x", "x"]), seed=0)
