"""Which family of instruments plays a note, in sample libraries that were not trained on.

Trained on fluid-soundfont-gm, tested on timgm6mb-soundfont and freepats. Of an instrument up to three notes
are heard, spread over those that its library has: more say the same again. They are drawn together for the
interval, and choose together.
"""

import re
import zlib
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from earkit.benchmarks.tasks.classification import Classification
from earkit.benchmarks.tasks.manifest_rows import label
from earkit.benchmarks.tasks.task import Split, Task, as_divided
from earkit.distill.data.manifests import Row

_NOTE = re.compile(r"(?<=\S)[ _-]*[A-Ga-g][#b]?-?\d.*$")
NOTES = 3


def instrument(row: Row) -> str:
    """Give the library and the name without its note: `Alto G#6(L)` and `Alto C5(L)` are one instrument."""
    return f"{label(row, 'package')} {_NOTE.sub('', label(row, 'text')).strip().lower()}"


def select(rows: Sequence[Row]) -> list[Row]:
    """Take what has a family that both sides have; of an instrument `NOTES`, from its first to its last."""
    families = {
        side: {label(row, "label") for row in rows if label(row, "split") == side}
        for side in ("train", "test")
    }
    shared = (families["train"] & families["test"]) - {""}
    known = sorted((row for row in rows if label(row, "label") in shared), key=instrument)
    taken = []
    for _, notes in groupby(known, instrument):
        of_one = list(notes)
        spread = np.linspace(0, len(of_one) - 1, min(NOTES, len(of_one))).round().astype(int)
        taken += [of_one[i] for i in spread]
    return taken


def splits(rows: Sequence[Row]) -> list[Split]:
    """Follow the split of the corpus, which is by library; a third of the instruments chooses in turn."""
    checksums = [zlib.crc32(instrument(row).encode()) for row in rows]
    return as_divided("libraries", [label(row, "split") for row in rows], checksums)


TASK = Task(
    "instruments",
    "families of instruments across sample libraries",
    ("instruments",),
    ("sha256", "package"),
    select,
    splits,
    Classification(
        "instruments", splits, lambda row: label(row, "label"), instrument, "instruments", balanced=True
    ),
)
