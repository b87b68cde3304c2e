"""Full vectors as they are stored, in float16 or int8, and exact cosines to all or some of them."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.outputs import Floats

Precision = Literal["float16", "int8"]
Stored = NDArray[np.float16] | NDArray[np.int8]

BLOCK = 512
"""Rows that are converted at a time: as float32 they stay in the processor's cache."""

_HALF_BITS = np.int32(-0x7000_2000)  # 0x8FFFE000: the sign, and exponent and mantissa of a half 13 bits up
_HALF_BIAS = np.float32(2.0**112)  # between the exponents' biases, 127 and 15


def rounded(vectors: Floats, precision: Precision) -> Stored:
    """Round vectors (n, dim); int8 uses its whole range in each row, and a cosine needs no scale."""
    if precision == "float16":
        return vectors.astype(np.float16)
    peaks = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.float32(1e-12))
    made: NDArray[np.int8] = np.rint(vectors * (127 / peaks)).astype(np.int8)
    return made


def as_floats(rows: Stored) -> Floats:
    """Give stored rows in float32. Halves must be finite."""
    if rows.dtype == np.int8:
        return rows.astype(np.float32)
    # NumPy converts halves one by one; the same in whole arrays is several times as fast.
    bits = rows.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _HALF_BITS
    made = bits.view(np.float32)
    made *= _HALF_BIAS
    return made


def cosines(rows: Stored, query: Floats) -> Floats:
    """Cosines to a query of length one. (n, dim), (dim,) -> (n,)."""
    made = np.empty(len(rows), np.float32)
    for begin in range(0, len(rows), BLOCK):
        block = as_floats(rows[begin : begin + BLOCK])
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        made[begin : begin + BLOCK] = (block @ query) / np.maximum(lengths, np.float32(1e-12))
    return made
