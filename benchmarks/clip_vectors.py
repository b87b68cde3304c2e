"""One vector for each clip: a model's own embedding, or pooled frames where it has none.

A model that hands out embeddings is judged by them, since that is what its user gets. For one that does not,
every layer is pooled in both ways, and a development split chooses.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.representations import Representation

Array = NDArray[np.float32]

SEGMENTS = 4


def mean(frames: Array) -> Array:
    """Mean over time. (time, dim) -> (dim,)."""
    pooled: Array = frames.mean(axis=0)
    return pooled


def segment_means(frames: Array) -> Array:
    """Means of four equal stretches side by side, which keeps order. (time, dim) -> (4 * dim,).

    Stretches share a frame where the number of frames is no multiple of four.
    """
    time = len(frames)
    places = [(k * time // SEGMENTS, -(-(k + 1) * time // SEGMENTS)) for k in range(SEGMENTS)]
    return np.concatenate([frames[begin:end].mean(axis=0) for begin, end in places])


POOLINGS = {"mean": mean, "4 segments": segment_means}
EMBEDDING = "embedding"


def clip_vectors(representation: Representation, clips: Iterable[Array]) -> dict[str, Array]:
    """Every choice of a vector, by name: (clips, dim)."""
    rows: dict[str, list[Array]] = {}
    for samples in clips:
        for choice, vector in _of_clip(representation, samples):
            rows.setdefault(choice, []).append(vector)
    return {choice: np.stack(vectors) for choice, vectors in rows.items()}


def _of_clip(representation: Representation, samples: Array) -> Iterable[tuple[str, Array]]:
    if representation.vector is not None:
        yield EMBEDDING, representation.vector(samples)
        return
    assert representation.frames is not None
    for layer, frames in representation.frames(samples).items():
        for pooling, pool in POOLINGS.items():
            yield f"{layer}, {pooling}", pool(frames)


def standardised_by(vectors: Array, groups: NDArray[np.str_]) -> Array:
    """Subtract the mean of each group (a speaker) and divide by its deviation, dimension by dimension."""
    made = np.empty_like(vectors)
    for group in np.unique(groups):
        own = groups == group
        deviation = vectors[own].std(axis=0)
        made[own] = (vectors[own] - vectors[own].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return made
