"""ABX against a loop over every triplet, with its own alignment of frames."""

from collections import defaultdict

import numpy as np
import pytest

from earkit.benchmarks import abx as module
from earkit.benchmarks.abx import Cell, Item, abx, collapse, error
from earkit.runtime.errors import DataError


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fill the table cell by cell, then walk back and count the steps, as ABXpy does."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cost = np.arccos(np.clip(a @ b.T, -1, 1)) / np.pi
    n, m = cost.shape
    sums = np.full((n + 1, m + 1), np.inf)
    sums[0, 0] = 0
    for i in range(n):
        for j in range(m):
            sums[i + 1, j + 1] = cost[i, j] + min(sums[i, j], sums[i + 1, j], sums[i, j + 1])
    i, j, steps = n, m, 1
    while (i, j) != (1, 1):
        i, j = min(((i - 1, j - 1), (i, j - 1), (i - 1, j)), key=lambda at: sums[at])
        steps += 1
    return float(sums[n, m] / steps)


def by_triplets(items: list[Item], *, across: bool) -> float:
    """Average over triplets, contexts and speakers of X, then speakers, then ordered pairs of categories."""
    wrong: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for x in items:
        for a in items:
            for b in items:
                if a is x or not (a.category == x.category != b.category and a.speaker == b.speaker):
                    continue
                if not a.context == b.context == x.context or (a.speaker == x.speaker) == across:
                    continue
                to_a, to_b = distance(x.frames, a.frames), distance(x.frames, b.frames)
                key = (a.category, b.category, a.speaker, x.speaker, x.context)
                wrong[key].append(1.0 if to_a > to_b else 0.5 if to_a == to_b else 0.0)
    level = {key: float(np.mean(each)) for key, each in wrong.items()}
    for depth in (3, 2, 0):
        collected: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for key, value in level.items():
            collected[key[:depth]].append(value)
        level = {key: float(np.mean(each)) for key, each in collected.items()}
    return level[()]


def spoken(seed: int, count: int = 36) -> list[Item]:
    """Items of three categories, two contexts and three speakers, not too easy; some combinations lack."""
    rng = np.random.default_rng(seed)
    centres = {c: rng.standard_normal(4) for c in "abc"}
    return [
        Item(
            (0.7 * centres[c] + rng.standard_normal((rng.integers(1, 5), 4))).astype(np.float32),
            c,
            rng.choice(["k_t", "p_p"]),
            rng.choice(["x", "y", "z"]),
        )
        for c in rng.choice(list("abc"), count)
    ]


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_every_triplet(seed: int, across: bool) -> None:
    items = spoken(seed)
    expected = by_triplets(items, across=across)
    assert 0.1 < expected < 0.6
    assert error(abx(items, across=across, seed=0)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("across", [False, True])
def test_the_ends_of_the_scale(across: bool) -> None:
    directions = {"a": [1.0, 0], "b": [0, 1.0]}
    told = [
        Item(np.array([directions[c]] * 3, np.float32), c, "", speaker)
        for c in "ab"
        for speaker in "xy"
        for _ in range(2)
    ]
    assert error(abx(told, across=across, seed=0)) == 0
    same = [Item(np.ones((2, 2), np.float32), item.category, "", item.speaker) for item in told]
    assert error(abx(same, across=across, seed=0)) == 0.5


def test_weights_are_like_repeating_the_cells() -> None:
    cells = abx(spoken(0), across=True, seed=0)
    contexts = np.array([cell.context for cell in cells])
    weights = np.where(contexts == "k_t", 3, 1)
    repeated = [cell for cell, times in zip(cells, weights, strict=True) for _ in range(times)]
    assert collapse(cells)(weights) == pytest.approx(error(repeated))
    kept = [cell for cell in cells if cell.context == "p_p"]
    assert collapse(cells)(np.where(contexts == "p_p", 1, 0)) == pytest.approx(error(kept))


def test_levels_are_collapsed_one_after_the_other() -> None:
    """Speaker x has two contexts, y one: each speaker weighs half, then each pair of categories."""
    cells = [
        Cell("1", "x", "x", "a", "b", 0.0),
        Cell("2", "x", "x", "a", "b", 1.0),
        Cell("1", "y", "y", "a", "b", 1.0),
        Cell("1", "x", "x", "b", "a", 0.25),
    ]
    assert error(cells) == pytest.approx((((0 + 1) / 2 + 1) / 2 + 0.25) / 2)


def test_limits_of_items_and_of_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    items = spoken(2, 200)
    monkeypatch.setattr(module, "MOST_ITEMS", 3)
    monkeypatch.setattr(module, "MOST_OTHERS", 1)
    pairs = []
    plain = module.mean_angles
    monkeypatch.setattr(module, "mean_angles", lambda frames, made: pairs.append(made) or plain(frames, made))
    cells = abx(items, across=True, seed=0)
    assert len(np.unique(pairs[0])) == 2 * 3 * 3 * 3  # contexts, categories, speakers, items
    assert len(cells) == 2 * 3 * 6  # contexts, speakers, ordered pairs; one speaker of X for each


def test_nothing_to_compare() -> None:
    one = [Item(np.ones((1, 2), np.float32), c, "", "x") for c in "ab"]
    with pytest.raises(DataError, match="the same speaker"):
        abx(one, across=False, seed=0)
    with pytest.raises(DataError, match="another speaker"):
        abx(one, across=True, seed=0)
