"""Alignments against plain loops that try every path, or fill the table cell by cell."""

from collections.abc import Iterator
from math import acos, pi

import numpy as np
import pytest

from earkit.benchmarks import dynamic_time_warping as module
from earkit.benchmarks.dynamic_time_warping import angles, mean_angles, subsequence_matches, windows
from earkit.benchmarks.unit_length import unit_length


def angle(a: np.ndarray, b: np.ndarray) -> float:
    cosine = float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))
    return acos(min(1.0, max(-1.0, cosine))) / pi


def paths(n: int, m: int) -> Iterator[list[tuple[int, int]]]:
    """Every way from (0, 0) to (n - 1, m - 1) in steps of one to the right, down or both."""
    if (n, m) == (1, 1):
        yield [(0, 0)]
        return
    for i, j in ((n - 1, m), (n, m - 1), (n - 1, m - 1)):
        if i and j:
            for path in paths(i, j):
                yield [*path, (n - 1, m - 1)]


def test_mean_angles_against_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALUES", 40)  # several chunks
    rng = np.random.default_rng(0)
    items = [rng.standard_normal((time, 3)).astype(np.float32) for time in (1, 2, 3, 4, 4, 5)]
    pairs = np.array([(i, j) for i in range(6) for j in range(6) if i < j])
    found = mean_angles(items, pairs)
    for (i, j), mean in zip(pairs, found, strict=True):
        cost = np.array([[angle(a, b) for b in items[j]] for a in items[i]])
        best = min(paths(*cost.shape), key=lambda path, cost=cost: sum(cost[at] for at in path))
        assert mean == pytest.approx(sum(cost[at] for at in best) / len(best), abs=1e-5)


def test_equal_sums_take_the_diagonal() -> None:
    """The first frames cost nothing, in any order; the last one of `other` costs 1 wherever it is met."""
    one, other = np.tile([[1, 0]], (3, 1)).astype(np.float32), np.array([[1, 0], [1, 0], [-1, 0]], np.float32)
    # It is met once at the end: of the paths there that cost 1, the diagonal one has 3 steps.
    assert mean_angles([one, other], np.array([[0, 1]])) == pytest.approx([1 / 3])


def test_a_frame_of_zeros_is_at_a_right_angle() -> None:
    frames = unit_length(np.array([[0, 0], [3, 0]], np.float32))
    assert angles(frames, frames) == pytest.approx(np.array([[0.5, 0.5], [0.5, 0]]))


def by_cells(cost: np.ndarray) -> tuple[float, int, int]:
    """Subsequence warping as in the textbook, with the beginning carried along."""
    n, m = cost.shape
    table = {(0, j): (cost[0, j], j) for j in range(m)}
    for i in range(1, n):
        for j in range(m):
            before = [table[i - 1, j]]
            if j:
                before += [table[i - 1, j - 1], table[i, j - 1]]
            least, begin = min(before)
            table[i, j] = (least + cost[i, j], begin)
    end = min(range(m), key=lambda j: table[n - 1, j][0])
    return table[n - 1, end][0] / n, table[n - 1, end][1], end


def test_subsequences_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([9, 14, 5, 14])
    for query in (1, 2, 6, 11):
        cost = rng.random((4, query, 14))
        found = subsequence_matches(cost, lengths)
        for k, length in enumerate(lengths):
            expected = by_cells(cost[k, :, :length])
            assert (found.cost[k], found.begin[k], found.end[k]) == pytest.approx(expected)


def test_a_query_is_found_where_it_is_even_when_slower() -> None:
    rng = np.random.default_rng(1)
    query = unit_length(rng.standard_normal((5, 8)).astype(np.float32))
    document = unit_length(rng.standard_normal((40, 8)).astype(np.float32))
    document[12:22] = np.repeat(query, 2, axis=0)
    found = subsequence_matches(angles(query, document)[None], np.array([40]))
    assert found.cost[0] == pytest.approx(0, abs=1e-3)
    assert found.begin[0] in {12, 13}
    assert found.end[0] in {20, 21}


def test_windows_reach_the_end_and_stay_inside() -> None:
    assert list(windows(10, 4, 3)) == [(0, 4), (3, 7), (6, 10)]
    assert list(windows(11, 4, 3)) == [(0, 4), (3, 7), (6, 10), (7, 11)]
    assert list(windows(3, 4, 3)) == [(0, 3)]
