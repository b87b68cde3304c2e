"""Sparse codes as an inverted file: for each latent the rows whose codes have it, and with what weight.

A query costs what stands under its latents. Its strongest ones are enough for a shortlist: a sparse code's
front is a code.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.outputs import SparseCode

QUERY_LATENTS = 16
"""Of a query. All 32 of a code take twice the time, and of 1000 rows bring in one more of the nearest ten in
a hundred queries."""


@dataclass(frozen=True)
class Codes:
    """Row by row: latents and weights, (n, k) both."""

    latents: NDArray[np.int32]
    weights: NDArray[np.uint8]


@dataclass(frozen=True)
class Postings:
    """Latent by latent: those of latent j stand from starts[j] to starts[j + 1], rows rising."""

    starts: NDArray[np.int64]
    rows: NDArray[np.uint32]
    weights: NDArray[np.uint8]


def codes(code: SparseCode) -> Codes:
    """Make codes of length one, and weights of 8 bits: 255 is 1."""
    lengths = np.maximum(np.linalg.norm(code.values, axis=1, keepdims=True), np.float32(1e-12))
    return Codes(code.indices.astype(np.int32), np.rint(code.values * (255 / lengths)).astype(np.uint8))


def inverted(codes: Codes, width: int) -> Postings:
    """Sort by latent."""
    latents = codes.latents.ravel()
    order = np.argsort(latents, kind="stable")
    starts = np.zeros(width + 1, np.int64)
    np.cumsum(np.bincount(latents, minlength=width), out=starts[1:])
    rows = (order // codes.latents.shape[1]).astype(np.uint32)
    return Postings(starts, rows, codes.weights.ravel()[order])


def by_row(postings: Postings, k: int) -> Codes:
    """Undo `inverted`, but for the order of latents in a row."""
    order = np.argsort(postings.rows, kind="stable")
    latents = np.repeat(np.arange(len(postings.starts) - 1, dtype=np.int32), np.diff(postings.starts))
    return Codes(latents[order].reshape(-1, k), postings.weights[order].reshape(-1, k))


def sparse_scores(
    postings: Postings, count: int, code: SparseCode, latents: int = QUERY_LATENTS
) -> NDArray[Any]:
    """Dot products of the query's strongest latents with the codes of `count` rows. -> (count,)."""
    rows, weights = [], []
    for latent, value in zip(code.indices[:latents], code.values[:latents], strict=True):
        under = slice(postings.starts[latent], postings.starts[latent + 1])
        rows.append(postings.rows[under])
        weights.append(postings.weights[under] * value)
    return np.bincount(np.concatenate(rows), np.concatenate(weights), minlength=count)
