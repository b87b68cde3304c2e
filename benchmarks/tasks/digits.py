"""Which digit from 0 to 9, by a voice that was not trained on: five languages, two or three voices each.

Voices of one package are left out together, and so are the packages of one voice. Few clips: wide intervals.
"""

from collections import defaultdict
from collections.abc import Sequence

from earkit.benchmarks.corpora import tuxpaint
from earkit.benchmarks.tasks.classification import Classification
from earkit.benchmarks.tasks.manifest_rows import label
from earkit.benchmarks.tasks.task import Split, Task, leave_one_out
from earkit.distill.data.manifests import Row

_SHARED = tuxpaint.SOURCE.package.name  # the one package with several voices


def _left_out_with(row: Row) -> str:
    package = label(row, "package")
    return package if package == _SHARED else label(row, "speaker")


def select(rows: Sequence[Row]) -> list[Row]:
    """Keep the languages that are spoken on both sides."""
    voices: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        voices[label(row, "language")].add(_left_out_with(row))
    return [row for row in rows if len(voices[label(row, "language")]) > 1]


def splits(rows: Sequence[Row]) -> list[Split]:
    """Leave out one voice, or one package of several."""
    return leave_one_out([_left_out_with(row) for row in rows])


TASK = Task(
    "digits",
    "spoken digits across voices",
    ("digits",),
    ("sha256", "speaker", "package"),
    select,
    splits,
    Classification(
        "digits", splits, lambda row: label(row, "label"), lambda row: label(row, "speaker"), "speakers"
    ),
)
