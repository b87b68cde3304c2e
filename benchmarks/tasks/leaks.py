"""Walk the manifests of this machine's corpora: no clip, speaker or package is on two sides of a split.

    python -m earkit.benchmarks.tasks.leaks

Also, whether a sound of the evaluation sets is in a training set. Ends with 1 where something is found. A
speaker or package that is in both kinds of set is told and is no leak: an evaluation set may hold other
recordings of someone whom models heard without a label, and the task says so.
"""

import sys
from collections.abc import Iterable

from earkit.benchmarks.corpora.build import find
from earkit.benchmarks.corpora.overlap import overlap
from earkit.benchmarks.corpora.recipe import Recipe
from earkit.benchmarks.corpora.sets import RECIPES
from earkit.benchmarks.tasks.evaluate import TASKS, task_rows
from earkit.benchmarks.tasks.manifest_rows import corpus_rows
from earkit.benchmarks.tasks.task import leaks
from earkit.runtime.errors import DataError


def of_tasks() -> dict[str, list[str] | str]:
    """Give what each task's splits leak, or why they cannot be walked."""
    found: dict[str, list[str] | str] = {}
    for task in TASKS.values():
        try:
            found[task.name] = leaks(task, task_rows(task))
        except DataError as error:
            found[task.name] = str(error)
    return found


def of_training() -> dict[tuple[str, str], dict[str, set[str]]]:
    """Give what a training and an evaluation set have in common, by their names and by column."""
    here = [recipe for recipe in RECIPES if find(recipe)]
    rows = {recipe.name: [row.labels for row in corpus_rows(recipe.name)] for recipe in here}
    shared = {
        (train.name, tested.name): overlap(
            rows[train.name], rows[tested.name], ("sha256", "speaker", "package")
        )
        for train in _of_use(here, "train")
        for tested in _of_use(here, "evaluation")
    }
    return {names: columns for names, columns in shared.items() if columns}


def _of_use(recipes: Iterable[Recipe], use: str) -> list[Recipe]:
    return [recipe for recipe in recipes if recipe.use == use]


def main() -> None:
    """Walk, print, and end with 1 where something leaks."""
    leaking = False
    for task, found in of_tasks().items():
        told = found if isinstance(found, str) else "; ".join(found) or "nothing on two sides"
        leaking |= isinstance(found, list) and bool(found)
        print(f"{task:<26}{told}")
    for (train, tested), columns in of_training().items():
        leaking |= "sha256" in columns
        told = ", ".join(f"{len(values)} x {column} ({min(values)})" for column, values in columns.items())
        print(f"{train} (train) and {tested} (evaluation) share {told}")
    sys.exit(1 if leaking else 0)


if __name__ == "__main__":
    main()
