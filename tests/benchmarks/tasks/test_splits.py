"""No clip, and nothing else that must stay apart, is on both sides of any split of any task."""

import numpy as np
import pytest

from earkit.benchmarks.corpora.build import MANIFEST, corpora_folder
from earkit.benchmarks.tasks.evaluate import TASKS, task_rows
from earkit.benchmarks.tasks.manifest_rows import label
from earkit.benchmarks.tasks.task import Task, leaks
from earkit.distill.data.manifests import Row

DIVIDED = [task for task in TASKS.values() if task.name != "label_free"]  # which learns nothing
each_task = pytest.mark.parametrize("task", DIVIDED, ids=lambda task: task.name)


def check(task: Task, rows: list[Row]) -> None:
    assert leaks(task, rows) == []
    splits = task.splits(rows)
    tested = np.concatenate([split.test for split in splits])
    assert len(tested) == len(set(tested.tolist()))  # no clip counts twice
    assert all(len(split.train) and len(split.test) for split in splits)
    assert all(len(learn) and len(held) for split in splits for learn, held in split.inner)
    assert len({str(row.place) for row in rows}) == len(rows)


@pytest.mark.usefixtures("corpora")
@each_task
def test_of_small_corpora(task: Task) -> None:
    check(task, task_rows(task))


@each_task
def test_of_the_corpora_on_this_machine(task: Task) -> None:
    missing = [name for name in task.corpora if not (corpora_folder() / name / MANIFEST).is_file()]
    if missing:
        pytest.skip(f"the corpus {missing[0]} is not on this machine: `kit corpus get {missing[0]}`")
    check(task, task_rows(task))


def test_every_task_keeps_sounds_apart() -> None:
    assert all("sha256" in task.apart for task in TASKS.values())


def rows_of(task: str) -> list[Row]:
    return task_rows(TASKS[task])


@pytest.mark.usefixtures("corpora")
def test_digits_leave_out_a_voice_with_all_its_packages_and_a_package_with_all_its_voices() -> None:
    rows = rows_of("digits")
    assert "radu" not in {label(row, "speaker") for row in rows}  # nobody else speaks his language
    left_out = {
        split.name: {label(rows[i], "speaker") for i in split.test} for split in TASKS["digits"].splits(rows)
    }
    assert left_out == {
        "alice": {"alice"},
        "bob": {"bob"},
        "carla": {"carla"},
        "tuxpaint-stamps-default": {"volunteer-en", "volunteer-es"},
    }


@pytest.mark.usefixtures("corpora")
def test_languages_are_tested_where_others_speak_them() -> None:
    rows = rows_of("language_identification")
    assert {label(row, "language") for row in rows} == {"de", "fr", "ru", "es", "it"}
    for split in TASKS["language_identification"].splits(rows):
        trained, tested = ({label(rows[i], "language") for i in part} for part in (split.train, split.test))
        assert tested <= trained
        assert "de" not in tested  # only one set speaks it
        assert {label(rows[i], "package") for i in split.train} & {
            label(rows[i], "package") for i in split.test
        } == set()


@pytest.mark.usefixtures("corpora")
def test_instruments_keep_the_notes_of_one_together() -> None:
    rows = rows_of("instruments")
    assert {label(row, "label") for row in rows} == {"reed", "brass"}  # what both sides have, and known
    (split,) = TASKS["instruments"].splits(rows)
    for learn, held in split.inner:
        names = [{label(rows[i], "text").split()[0] for i in part} for part in (learn, held)]
        assert not names[0] & names[1]


@pytest.mark.usefixtures("corpora")
def test_words_are_chosen_on_the_other_language() -> None:
    rows = rows_of("word_retrieval")
    for split in TASKS["word_retrieval"].splits(rows):
        assert {label(rows[i], "language") for i in split.test} == {split.name}
        assert split.name not in {label(rows[i], "language") for i in split.train}
