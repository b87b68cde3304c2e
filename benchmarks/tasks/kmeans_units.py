"""Units for a model that has no tokens: its frames, by k-means, as HuBERT's were made."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from earkit.benchmarks.representations import Array, Representation, Tokens
from earkit.benchmarks.tasks.phones import some_frames, splits
from earkit.benchmarks.unit_quality import joint_counts, pnmi
from earkit.distill.data.manifests import Row

CLUSTERS = 100
PER_SENTENCE = 50  # frames of a training sentence that k-means hears

Units = Callable[[Array], Tokens]
"""samples -> units (time,), on the representation's own grid."""


def kmeans_units(representation: Representation, rows: Sequence[Row], seed: int) -> tuple[str, Units]:
    """Fit each layer on training sentences; the one of the best PNMI on the development ones stays."""
    make = representation.frames
    assert make is not None
    ((learn, develop),) = splits(rows)[0].inner
    (heard, _, _), (asked, phones, _) = (
        some_frames(representation, rows, part, PER_SENTENCE, np.random.default_rng(seed))
        for part in (learn, develop)
    )
    names, phone = np.unique(phones, return_inverse=True)
    fitted, reached = {}, {}
    for layer, frames in heard.items():
        scale = frames.mean(axis=0), frames.std(axis=0) + 1e-6
        means = MiniBatchKMeans(CLUSTERS, random_state=seed, n_init=3).fit((frames - scale[0]) / scale[1])
        fitted[layer] = means.cluster_centers_.astype(np.float32), *scale
        found = nearest((asked[layer] - scale[0]) / scale[1], fitted[layer][0])
        reached[layer] = pnmi(joint_counts(phone, found, (len(names), CLUSTERS)))
    best = max(reached, key=lambda layer: reached[layer])
    centres, mean, deviation = fitted[best]
    name = f"{best}, k-means of {CLUSTERS}"
    return name, lambda samples: nearest((make(samples)[best] - mean) / deviation, centres)


def nearest(frames: Array, centres: Array) -> Tokens:
    """Give the number of the nearest centre. (time, dim), (clusters, dim) -> (time,)."""
    squared = np.square(centres).sum(axis=1) - 2 * frames @ centres.T
    units: Tokens = squared.argmin(axis=1)
    return units
