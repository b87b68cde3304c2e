"""Clips of the corpora as tasks see them: rows of their manifests."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.corpora.build import MANIFEST, corpora_folder
from earkit.benchmarks.corpora.sets import RECIPES
from earkit.benchmarks.representations import LEAST_SAMPLES
from earkit.distill.data.manifests import Row, rows
from earkit.runtime.audio import Samples, read
from earkit.runtime.errors import DataError

Labels = NDArray[np.str_]


def corpus_rows(name: str) -> list[Row]:
    """Every clip of a corpus that is long enough for every representation."""
    manifest = corpora_folder() / name / MANIFEST
    if not manifest.is_file():
        free = next((recipe.free for recipe in RECIPES if recipe.name == name), True)
        command = f"kit corpus get {name}{'' if free else ' --non-free'}"
        raise DataError(f"the corpus {name} is not on this machine: make it with `{command}`")
    return [row for row in rows(manifest, None) if row.frames is None or row.frames >= LEAST_SAMPLES]


def audio(row: Row) -> Samples:
    """Decode a clip."""
    return read(row.place).samples


def label(row: Row, column_name: str) -> str:
    """Give a field; empty where nothing is known."""
    return row.labels.get(column_name, "")


def column(some: Sequence[Row], name: str) -> Labels:
    """Give a field of every row. -> (rows,)."""
    return np.array([label(row, name) for row in some], dtype=np.str_)
