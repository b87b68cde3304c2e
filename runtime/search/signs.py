"""Binary signatures: signs of the dims of a turned vector, compared by how many differ (Hamming).

Signs say most where all dims weigh alike. Those of an embedding need not: of one that lies along its
principal axes, signs of the last dims say next to nothing, and those of the first are too few. So vectors are
turned by the same rotation everywhere, after which every dim has something of all.
"""

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.outputs import Floats

Words = NDArray[np.uint64]


def signs(vectors: Floats) -> Words:
    """64 dims in a word, those of one word side by side. (n, dim) -> (dim / 64 rounded up, n)."""
    packed = np.packbits(vectors @ rotation(vectors.shape[1]) >= 0, axis=1)
    whole = np.zeros((len(vectors), -(-packed.shape[1] // 8) * 8), np.uint8)
    whole[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(whole.view(np.uint64).T)


def agreements(words: Words, query: Floats) -> NDArray[np.int16]:
    """Minus the number of dims whose signs differ; of the first dims, where only their words are given."""
    made = np.zeros(words.shape[1], np.int16)
    for word, wanted in zip(words, signs(query[None])[:, 0], strict=False):
        made -= np.bitwise_count(word ^ wanted)
    return made


@cache
def rotation(dim: int) -> Floats:
    """Flip some dims and take the cosine transform, twice: as good as a random rotation, and always the same.

    (dim, dim), orthonormal.
    """
    index = np.arange(dim)
    cosines = np.sqrt(2 / dim) * np.cos(np.pi / dim * np.outer(index + 0.5, index))
    cosines[:, 0] = np.sqrt(1 / dim)
    flips = np.unpackbits(np.frombuffer(hashlib.shake_256(b"earkit").digest(dim // 4 + 1), np.uint8))
    first, second = 1 - 2.0 * flips[: 2 * dim].reshape(2, dim)
    made: Floats = (first[:, None] * (cosines * second @ cosines)).astype(np.float32)
    return made
