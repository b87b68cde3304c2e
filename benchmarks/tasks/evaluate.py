"""All tasks, and a representation's scores on some of them: what `kit eval` runs."""

from collections.abc import Callable, Iterable, Sequence

from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks import (
    character_identification,
    digits,
    instruments,
    label_free,
    language_identification,
    phone_abx,
    phone_classification,
    query_by_example,
    speaker_identification,
    units,
    word_retrieval,
)
from earkit.benchmarks.tasks.manifest_rows import corpus_rows
from earkit.benchmarks.tasks.task import Score, Task
from earkit.distill.data.manifests import Row
from earkit.runtime.errors import ConfigError

TASKS = {
    task.name: task
    for task in (
        word_retrieval.TASK,
        query_by_example.TASK,
        phone_abx.WORDS,
        speaker_identification.TASK,
        digits.TASK,
        language_identification.TASK,
        instruments.TASK,
        character_identification.TASK,
        phone_classification.TASK,
        phone_abx.TRIPHONES,
        units.TASK,
        label_free.TASK,
    )
}


def choose(names: Sequence[str]) -> list[Task]:
    """Give the tasks of these names, in the order of `TASKS`; all of them where none is named."""
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise ConfigError(f"there is no task {unknown[0]}; choose among {', '.join(TASKS)}")
    return [task for task in TASKS.values() if not names or task.name in names]


def task_rows(task: Task) -> list[Row]:
    """Give the clips of a task, from the corpora on this machine."""
    return task.select([row for corpus in task.corpora for row in corpus_rows(corpus)])


def evaluate(
    representation: Representation,
    tasks: Iterable[Task],
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[Score]:
    """Score a representation on tasks; one that it cannot do, as it has no frames, gives no score."""
    scores = []
    for task in tasks:
        say(f"{representation.name}: {task.name}")
        scores += task.score(representation, task_rows(task), seed)
    return scores
