"""ABX discriminability: whether X is nearer to A, which is of its category, than to B, which is not.

As in ZeroSpeech 2021 and fastabx: the distance of two items is the mean angle along the best alignment of
their frames (dynamic time warping); A and B are of one speaker and context, X of the same speaker (`within`)
or of another one (`across`). Errors are averaged over contexts and over the speakers of X, then over
speakers, then over ordered pairs of categories; a tie is half an error.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.dynamic_time_warping import mean_angles
from earkit.runtime.errors import DataError

Array = NDArray[np.float32]
Errors = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST_ITEMS = 10
MOST_OTHERS = 5


@dataclass(frozen=True)
class Item:
    """Something that was said: frames (time, dim), of what category, between what, and by whom."""

    frames: Array
    category: str
    context: str
    speaker: str


@dataclass(frozen=True)
class Cell:
    """All triplets of one context, one speaker of A and B, one of X, and one ordered pair of categories."""

    context: str
    speaker: str
    speaker_of_x: str
    category: str
    """Of A and X."""
    other: str
    """Of B."""
    error: float


def abx(items: Sequence[Item], *, across: bool, seed: int) -> list[Cell]:
    """Score every cell.

    At most `MOST_ITEMS` of each category, context and speaker are compared, and at most `MOST_OTHERS`
    speakers of X for each A and B, drawn at random: the limits of ZeroSpeech.
    """
    rng = np.random.default_rng(seed)
    contexts = _chosen(items, rng)
    pairs = [pair for groups in contexts.values() for pair in _pairs(groups, across=across)]
    angles = mean_angles([item.frames for item in items], np.array(pairs, np.int64).reshape(-1, 2))
    distance = dict(zip(pairs, angles.tolist(), strict=True))
    cells = [
        cell
        for context, groups in contexts.items()
        for cell in _cells(context, groups, distance, rng, across=across)
    ]
    if not cells:
        raise DataError(
            "no triplet can be made: ABX needs a context with two categories of one speaker, and a second "
            f"item of the first one by {'another' if across else 'the same'} speaker"
        )
    return cells


def error(cells: Sequence[Cell]) -> float:
    """Collapse to one number."""
    return collapse(cells)(np.ones(len(cells), np.int64))


def collapse(cells: Sequence[Cell]) -> Callable[[Indices], float]:
    """Give the error as a function of how often each cell was drawn, (cells,); 0 leaves it out."""
    errors = np.array([cell.error for cell in cells])
    by_speaker = _numbers([(cell.category, cell.other, cell.speaker) for cell in cells])
    _, first = np.unique(by_speaker, return_index=True)
    by_pair = _numbers([(cells[i].category, cells[i].other) for i in first])

    def drawn(times: Indices) -> float:
        total, size = np.bincount(by_speaker, times * errors), np.bincount(by_speaker, times)
        there = size > 0
        means = np.bincount(by_pair[there], total[there] / size[there])
        speakers = np.bincount(by_pair[there])
        return float((means[speakers > 0] / speakers[speakers > 0]).mean())

    return drawn


Groups = Mapping[tuple[str, str], Sequence[int]]
"""(speaker, category) -> items of one context."""


def _chosen(items: Sequence[Item], rng: np.random.Generator) -> dict[str, Groups]:
    """Items by context, speaker and category, none with more than `MOST_ITEMS`."""
    contexts: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, item in enumerate(items):
        contexts[item.context][item.speaker, item.category].append(index)
    return {
        context: {
            key: sorted(rng.permutation(members)[:MOST_ITEMS].tolist()) for key, members in groups.items()
        }
        for context, groups in sorted(contexts.items())
    }


def _pairs(groups: Groups, *, across: bool) -> Iterator[tuple[int, int]]:
    """All pairs of items of a context whose distance may be asked for, the smaller number first."""
    members = [(i, speaker) for (speaker, _), group in groups.items() for i in group]
    for (i, one), (j, other) in permutations(members, 2):
        if i < j and (across or one == other):
            yield i, j


def _cells(
    context: str,
    groups: Groups,
    distance: Mapping[tuple[int, int], float],
    rng: np.random.Generator,
    *,
    across: bool,
) -> Iterator[Cell]:
    def table(rows: Sequence[int], columns: Sequence[int]) -> Errors:
        return np.array([[0.0 if i == j else distance[min(i, j), max(i, j)] for j in columns] for i in rows])

    for (speaker, category), (same, other) in permutations(sorted(groups), 2):
        if same != speaker:
            continue
        a, b = groups[speaker, category], groups[speaker, other]
        if not across:
            if len(a) > 1:
                found = _error(table(a, a), table(a, b), own=True)
                yield Cell(context, speaker, speaker, category, other, found)
            continue
        others = sorted(who for who, what in groups if what == category and who != speaker)
        for who in sorted(rng.permutation(others)[:MOST_OTHERS].tolist()):
            x = groups[who, category]
            yield Cell(context, speaker, who, category, other, _error(table(x, a), table(x, b), own=False))


def _error(to_a: Errors, to_b: Errors, *, own: bool) -> float:
    """Share of triplets that go wrong. to_a: (x, a); to_b: (x, b); own: the items of A are those of X."""
    farther = to_a[:, :, None] - to_b[:, None, :]
    wrong = (farther > 0) + 0.5 * (farther == 0)
    if own:
        wrong = wrong[~np.eye(len(to_a), dtype=bool)]
    return float(wrong.mean())


def _numbers(keys: Sequence[tuple[str, ...]]) -> NDArray[np.int64]:
    """Give equal keys the same number."""
    known: dict[tuple[str, ...], int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)
