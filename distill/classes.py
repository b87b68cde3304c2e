"""Classes of a labelled corpus: what the task stage learns to tell apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earkit.distill.data.corpus import Corpus
from earkit.runtime.errors import ConfigError, DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Classes:
    """Names in sorted order, and for each clip of the corpus, in its order, the index of its class."""

    names: tuple[str, ...]
    of_clip: Indices


def labelled(corpus: Corpus, column: str = "label") -> Classes:
    """Read the classes from a column of the corpus's manifest; every clip has to have one."""
    source = corpus.source or "the corpus"
    columns = sorted({name for clip in corpus.clips for name in clip.labels})
    if column not in columns:
        found = f"it has {', '.join(columns)}" if columns else "it has no labels at all"
        raise DataError(
            f"{source} has no column {column} ({found}): give a manifest with the columns path and {column}"
        )
    unlabelled = [clip.name for clip in corpus.clips if column not in clip.labels]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} of {len(corpus.clips)} clips of {source} have no {column}, {unlabelled[0]} "
            "first: label them, or leave them out"
        )
    names, of_clip = np.unique([clip.labels[column] for clip in corpus.clips], return_inverse=True)
    if len(names) < 2:
        raise DataError(f"{source} has one class, {names[0]}: give at least two in the column {column}")
    return Classes(tuple(names.tolist()), of_clip.astype(np.int64))


def held_out(classes: Classes, share: float, seed: int) -> tuple[Indices, Indices]:
    """Divide the clips at random into those to learn from and those to test on, of each class alike.

    Every class is on both sides: of a small one, at least one clip is held out and at least one is kept.
    Both index arrays are sorted.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a held-out share of {share} leaves one side empty: give one between 0 and 1")
    counts = np.bincount(classes.of_clip, minlength=len(classes.names))
    alone = np.flatnonzero(counts < 2)
    if len(alone):
        raise DataError(
            f"{len(alone)} of {len(counts)} classes have a single clip, {classes.names[alone[0]]} first, "
            "which cannot be both learnt from and tested on: give at least two of each"
        )
    rng = np.random.default_rng(seed)
    test = np.zeros(len(classes.of_clip), bool)
    for index, count in enumerate(counts):
        of_class = rng.permutation(np.flatnonzero(classes.of_clip == index))
        test[of_class[: min(max(round(share * count), 1), count - 1)]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)
