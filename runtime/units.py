"""Units: tokens without their repetitions, and how long each lasts."""

import numpy as np
from numpy.typing import NDArray


def units(tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Collapse runs of equal tokens. (time,) -> units and their frames, both (count,).

    >>> units(np.array([7, 7, 7, 2, 7]))
    (array([7, 2, 7]), array([3, 1, 1]))
    """
    if not len(tokens):
        return tokens, tokens
    begins = np.flatnonzero(np.concatenate([[True], tokens[1:] != tokens[:-1]]))
    return tokens[begins], np.diff(np.append(begins, len(tokens)))
