"""Ways to make an embedding smaller, compared at the bytes that one vector takes in an index.

Every candidate is rounded as it would be stored before it is measured. Vectors are compared by cosine, so
no length or scale has to be stored with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.retrieval import Labels, Vectors, retrieval
from earkit.benchmarks.unit_length import unit_length
from earkit.runtime.errors import ConfigError, DataError

Storage = Literal["float32", "float16", "int8", "binary", "sparse"]

WIDEST = 1 << 16  # of sparse vectors: an index has two bytes


@dataclass(frozen=True)
class Candidate:
    """A way to make it smaller, and what it makes of the vectors; vectors: (n, dim), or (n, width) if sparse.

    size: dims, or the non-zeros that a sparse vector may have. queries: what is searched for, where it is not
    the vectors themselves: a query is stored nowhere and may be longer.
    """

    name: str
    storage: Storage
    size: int
    vectors: Vectors
    queries: Vectors | None = None

    def __post_init__(self) -> None:
        sparse_ones = self.storage == "sparse"
        used = np.count_nonzero(self.vectors, axis=1).max() if sparse_ones else self.vectors.shape[1]
        if used > self.size or (not sparse_ones and used < self.size):
            raise DataError(
                f"the vectors of {self.name} use {used} values and claim {self.size}: correct one"
            )


def compared(candidates: Sequence[Candidate], labels: Labels, speakers: Labels) -> list[dict[str, Any]]:
    """Word retrieval of each candidate, with its bytes per vector: the rows of a table."""
    rows = []
    for candidate in candidates:
        kept = stored(candidate.storage, candidate.vectors)
        scores = retrieval(kept, labels, speakers, candidate.queries)
        rows.append(
            {
                "name": candidate.name,
                "storage": candidate.storage,
                "size": candidate.size,
                "bytes": bytes_per_vector(candidate.storage, candidate.size, candidate.vectors.shape[1]),
                "first": scores.first,
                "precision": scores.precision,
            }
        )
    return rows


def bytes_per_vector(storage: Storage, size: int, width: int) -> int:
    """Count what one vector of so many dims, or so many non-zeros of a sparse width, takes."""
    match storage:
        case "float32":
            return 4 * size
        case "float16":
            return 2 * size
        case "int8":
            return size
        case "binary":
            return -(-size // 8)
        case "sparse":
            return ((1 if width <= 256 else 2) + 1) * size  # an index, and a value of one byte


def stored(storage: Storage, vectors: Vectors) -> Vectors:
    """Give back what is left of vectors after storing them, up to a scale of each."""
    match storage:
        case "float32":
            return vectors
        case "float16":
            return vectors.astype(np.float16).astype(np.float32)
        case "int8" | "sparse":
            peak = np.abs(vectors).max(axis=1, keepdims=True)
            rounded: Vectors = np.round(vectors * (127 / np.where(peak > 0, peak, 1))).astype(np.float32)
            return rounded
        case "binary":
            return np.where(vectors >= 0, 1, -1).astype(np.float32)


def truncated(vectors: Vectors, dim: int) -> Vectors:
    """Keep the first `dim` dimensions, then normalise: the order of Matryoshka embeddings."""
    _check(dim, vectors.shape[1], "dimensions")
    return unit_length(vectors[:, :dim])


def pca(train_vectors: Vectors, vectors: Vectors, dim: int) -> Vectors:
    """Centre, project on the `dim` directions in which the training vectors vary most, then normalise."""
    _check(dim, min(train_vectors.shape[1], len(train_vectors) - 1), "directions of the training vectors")
    centre = train_vectors.mean(axis=0, dtype=np.float64)
    directions = np.linalg.svd(train_vectors - centre, full_matrices=False)[2][:dim]
    return unit_length(((vectors - centre) @ directions.T).astype(np.float32))


def sparse(indices: NDArray[np.int64], values: Vectors, width: int) -> Vectors:
    """Write k non-zeros of each row, (n, k) both, into dense rows for dot products. -> (n, width).

    Values at the same index add up, so an unused place may be any index with the value 0.
    """
    if not 0 < width <= WIDEST:
        raise ConfigError(f"a sparse width of {width} has no index of two bytes: give 1 to {WIDEST}")
    if indices.size and not (indices.min() >= 0 and indices.max() < width):
        raise DataError(
            f"sparse indices reach from {indices.min()} to {indices.max()} in a width of {width}: "
            "give the width of the model that made them"
        )
    dense = np.zeros((len(indices), width), np.float32)
    np.add.at(dense, (np.arange(len(indices))[:, None], indices), values)
    return dense


def _check(dim: int, most: int, what: str) -> None:
    if not 0 < dim <= most:
        raise ConfigError(f"{dim} of {most} {what} cannot be kept: give 1 to {most}")
