"""Dynamic time warping over angles between frames: whole against whole, and a query within a document.

The angle between two frames is arccos(cosine) / pi, from 0 to 1; a frame of zeros is at 0.5 from every other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.unit_length import unit_length

Array = NDArray[np.float32]
Costs = NDArray[np.float64]
Indices = NDArray[np.int64]

VALUES = 1 << 23  # of frames or of tables that are held at a time


def angles(one: Array, other: Array) -> Costs:
    """Angles between frames of length one. (…, n, dim), (…, m, dim) -> (…, n, m)."""
    cosines = one @ np.swapaxes(other, -1, -2)
    turned: Costs = np.arccos(np.clip(cosines, -1, 1).astype(np.float64)) / np.pi
    return turned


def mean_angles(items: Sequence[Array], pairs: Indices) -> Costs:
    """Mean angle along the best path that aligns two items. items: (time, dim) each; pairs: (n, 2) of them.

    The path has the least sum; its length then divides it, as in ABXpy and fastabx.
    """
    unit = [unit_length(item) for item in items]
    lengths = np.array([len(item) for item in items])
    found = np.zeros(len(pairs))
    order = np.lexsort((lengths[pairs[:, 1]], lengths[pairs[:, 0]]))  # alike in size: little padding
    largest = max(max(item.size, len(item) ** 2) for item in items)
    chunk = max(1, VALUES // largest)
    for begin in range(0, len(order), chunk):
        now = order[begin : begin + chunk]
        sizes = lengths[pairs[now]]
        one, other = (
            padded([unit[i] for i in pairs[now, side]], int(sizes[:, side].max())) for side in (0, 1)
        )
        found[now] = _aligned(angles(one, other), sizes)
    return found


def padded(items: Sequence[Array], longest: int) -> Array:
    """Stack items, zeros behind the shorter ones. (time, dim) each -> (items, longest, dim)."""
    stacked = np.zeros((len(items), longest, items[0].shape[1]), np.float32)
    for row, item in zip(stacked, items, strict=True):
        row[: len(item)] = item
    return stacked


def _aligned(cost: Costs, sizes: Indices) -> Costs:
    """Align many pairs at once. cost: (pairs, n, m); sizes: (pairs, 2), what counts of it. -> (pairs,).

    Of predecessors with equal sums the diagonal one is taken first, then that in the same row.
    """
    pairs, n, m = cost.shape
    sums = np.ascontiguousarray(cost.transpose(1, 2, 0))  # (n, m, pairs)
    steps = np.ones((n, m, pairs))
    for i, j in np.ndindex(n, m):
        if i and j:
            diagonal, row, column = sums[i - 1, j - 1], sums[i, j - 1], sums[i - 1, j]
            straight = (diagonal <= row) & (diagonal <= column)
            before = np.where(straight, diagonal, np.minimum(row, column))
            length = np.where(
                straight, steps[i - 1, j - 1], np.where(row <= column, steps[i, j - 1], steps[i - 1, j])
            )
        elif i or j:
            last = (i - 1, 0) if i else (0, j - 1)
            before, length = sums[last], steps[last]
        else:
            continue
        sums[i, j] += before
        steps[i, j] += length
    end = (sizes[:, 0] - 1, sizes[:, 1] - 1, np.arange(pairs))
    mean: Costs = sums[end] / steps[end]
    return mean


@dataclass(frozen=True)
class Matches:
    """Where in each document a query fits best: from frame `begin` up to and with `end`. Each (documents,).

    cost: the sum of the angles along the path, divided by the frames of the query.
    """

    cost: Costs
    begin: Indices
    end: Indices


def subsequence_matches(cost: Costs, lengths: Indices) -> Matches:
    """Find a query anywhere in each document (Müller 2007, section 4.4).

    cost: (documents, query frames, document frames), of which the first `lengths` (documents,) count. A path
    may begin and end at any frame of a document. Its steps along one row of the table, which stay at a frame
    of the query, are unrolled: sum_j = C_j + min over k <= j of (above_k - C_(k-1)), where C are the
    cumulative costs of the row.
    """
    documents, _, time = cost.shape
    column = np.broadcast_to(np.arange(time), (documents, time))
    sums, begins = cost[:, 0], column
    for k in range(1, cost.shape[1]):
        straight, straight_begins = np.full_like(sums, np.inf), np.zeros_like(begins)
        straight[:, 1:], straight_begins[:, 1:] = sums[:, :-1], begins[:, :-1]
        is_straight = straight <= sums
        above = np.where(is_straight, straight, sums)
        above_begins = np.where(is_straight, straight_begins, begins)
        cumulative = np.cumsum(cost[:, k], axis=1)
        entered = above - (cumulative - cost[:, k])
        least = np.minimum.accumulate(entered, axis=1)
        at = np.maximum.accumulate(np.where(entered == least, column, 0), axis=1)
        sums, begins = cumulative + least, np.take_along_axis(above_begins, at, axis=1)
    end = np.where(column < lengths[:, None], sums, np.inf).argmin(axis=1)
    best = np.arange(documents), end
    return Matches(sums[best] / cost.shape[1], begins[best], end)


def windows(samples: int, size: int, hop: int) -> Iterator[tuple[int, int]]:
    """Places of windows in a document, for a model that gives vectors: begin and end, the last one whole."""
    last = max(0, samples - size)
    for begin in range(0, last + hop, hop):
        start = min(begin, last)
        yield start, min(start + size, samples)
