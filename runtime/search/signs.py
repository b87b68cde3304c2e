"""Binary signatures: the sign of each dim, compared by how many differ (Hamming)."""

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.outputs import Floats

Words = NDArray[np.uint64]


def signs(vectors: Floats) -> Words:
    """64 dims in a word, those of one word side by side. (n, dim) -> (dim / 64 rounded up, n)."""
    packed = np.packbits(vectors >= 0, axis=1)
    whole = np.zeros((len(vectors), -(-packed.shape[1] // 8) * 8), np.uint8)
    whole[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(whole.view(np.uint64).T)


def agreements(words: Words, query: Floats) -> NDArray[np.int16]:
    """Minus the number of dims whose signs differ. -> (n,)."""
    made = np.zeros(words.shape[1], np.int16)
    for word, wanted in zip(words, signs(query[None])[:, 0], strict=True):
        made -= np.bitwise_count(word ^ wanted)
    return made
