"""The greatest of many scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST_GROUP = 128
_SPARE = 4  # groups for each row that is wanted, so that few others are above the bound


def at_least(scores: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Rows of the `count` greatest scores, all equals of the least of them, and a few more, rising.

    Of the greatest of each group, the `count`-th is not above the `count`-th of all: a bound that costs one
    pass, where partitioning all scores is slower than making them.
    """
    size = max(1, min(_LARGEST_GROUP, len(scores) // (_SPARE * count)))
    groups = len(scores) // size
    if groups <= count:
        return np.arange(len(scores))
    peaks = scores[: groups * size].reshape(size, groups).max(axis=0)
    bound = np.partition(peaks, groups - count)[groups - count]
    return np.flatnonzero(scores >= bound)


def best(scores: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Rows of the `count` greatest scores, greatest first, the lower row first of equals. scores: (n,)."""
    rows = at_least(scores, count)
    order = np.argsort(-scores[rows], kind="stable")
    return rows[order[:count]]
