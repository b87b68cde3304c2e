"""Which character of a game speaks, in lines that were not trained on: uqm, which is not free.

Characters of one actor, where that is known, are one class.
"""

import zlib
from collections import Counter
from collections.abc import Sequence

from earkit.benchmarks.tasks.classification import Classification
from earkit.benchmarks.tasks.manifest_rows import label
from earkit.benchmarks.tasks.task import Split, Task, as_divided
from earkit.distill.data.manifests import Row

MOST = 60  # lines of a character in each part


def _speaker(row: Row) -> str:
    return label(row, "speaker")


def _checksum(row: Row) -> int:
    return zlib.crc32(label(row, "sha256").encode())


def select(rows: Sequence[Row]) -> list[Row]:
    """Take at most `MOST` lines of a character for training, and as many for the test, by a checksum."""
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for row in sorted(rows, key=_checksum):
        key = (label(row, "split"), _speaker(row))
        if taken[key] < MOST:
            taken[key] += 1
            chosen.append(row)
    return chosen


def splits(rows: Sequence[Row]) -> list[Split]:
    """Follow the split of the corpus, which is by line; a third of the training lines chooses in turn."""
    return as_divided("lines", [label(row, "split") for row in rows], list(map(_checksum, rows)))


TASK = Task(
    "character_identification",
    "characters of a game by their voices",
    ("uqm",),
    ("sha256",),
    select,
    splits,
    Classification("character_identification", splits, _speaker, _speaker, "speakers", balanced=True),
)
