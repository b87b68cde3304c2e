"""Short vectors: the Matryoshka front of each embedding in int8, to shortlist by a pass over few bytes."""

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.outputs import Floats

LEAST = 32
"""Dims below which a shortlist misses too much."""

_BLOCK = 8192  # rows: as float32 they stay in the processor's cache


def short_dim(dims: tuple[int, ...], dim: int) -> int:
    """Choose a width of those that were trained, or 0 where none below the whole one is wide enough."""
    return min((each for each in dims if LEAST <= each < dim), default=0)


def shortened(vectors: Floats, dim: int) -> NDArray[np.int8]:
    """Cut, normalise, round. (n, whole dim) -> (n, dim)."""
    cut = vectors[:, :dim]
    lengths = np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), np.float32(1e-12))
    made: NDArray[np.int8] = np.rint(cut * (127 / lengths)).astype(np.int8)
    return made


def short_scores(short: NDArray[np.int8], query: Floats) -> Floats:
    """Dot products with the front of a query, which order rows as its cosines do. -> (n,)."""
    front = np.ascontiguousarray(query[: short.shape[1]])
    made = np.empty(len(short), np.float32)
    for begin in range(0, len(short), _BLOCK):
        np.dot(short[begin : begin + _BLOCK].astype(np.float32), front, out=made[begin : begin + _BLOCK])
    return made
