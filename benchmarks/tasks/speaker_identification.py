"""Who speaks, in a meeting that was not trained on: nine speakers in the five meetings of speakerbox."""

from collections.abc import Sequence

from earkit.benchmarks.tasks.classification import Classification
from earkit.benchmarks.tasks.manifest_rows import label
from earkit.benchmarks.tasks.task import Split, Task, leave_one_out
from earkit.distill.data.manifests import Row


def _speaker(row: Row) -> str:
    return label(row, "speaker")


def splits(rows: Sequence[Row]) -> list[Split]:
    """Leave one meeting out. Speakers are what is told, so they are on both sides."""
    return leave_one_out([label(row, "session") for row in rows])


TASK = Task(
    "speaker_identification",
    "nine speakers across five meetings",
    ("speakerbox",),
    ("sha256", "session"),
    list,
    splits,
    Classification("speaker_identification", splits, _speaker, _speaker, "speakers"),
)
