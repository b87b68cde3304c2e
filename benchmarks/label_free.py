"""What can be said of features without any label.

RankMe is in `earkit.distill.rankme`, which training watches; it is `effective_rank` of the first 2048 frames
but for a constant of 1e-7. These say how features are spread, not what they know: compare a model with
itself, earlier or smaller, and let a probe have the last word.
"""

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.unit_length import unit_length

Values = NDArray[np.floating]

TEMPERATURE = 2.0  # t of the uniformity


def effective_rank(features: Values) -> float:
    """Exponential of the entropy of the normalised singular values (Roy and Vetterli 2007). (frames, dim)."""
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def alignment(vectors: Values, views: Values) -> NDArray[np.float64]:
    """Squared distance of each vector to that of another view of its clip, both of length one; 0 is best.

    Wang and Isola 2020, with exponent 2; its mean over clips is their figure. (clips, dim) -> (clips,).
    """
    unit, other = (unit_length(given.astype(np.float64)) for given in (vectors, views))
    distances: NDArray[np.float64] = np.square(unit - other).sum(axis=1)
    return distances


def uniformity(vectors: Values) -> float:
    """Log of the mean of exp(-2 d^2) over all pairs of vectors of length one; lower is better spread.

    Wang and Isola 2020: 0 when all are the same, towards -4 when all are far apart in many dimensions.
    """
    unit = unit_length(vectors.astype(np.float64))
    squared = np.maximum(0, 2 - 2 * unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return float(np.log(np.exp(-TEMPERATURE * squared).mean()))
