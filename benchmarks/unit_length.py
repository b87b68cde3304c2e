"""Vectors of length one."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", np.float32, np.float64)


def unit_length(vectors: NDArray[T]) -> NDArray[T]:
    """Divide each by its length; one of zeros stays. (…, dim) -> the same."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: NDArray[T] = (vectors / np.where(lengths > 0, lengths, 1)).astype(vectors.dtype)
    return unit
