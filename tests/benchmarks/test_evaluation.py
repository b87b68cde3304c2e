"""Cells come one by one, are kept, and are done again only when the model, the clips or the seed changed."""

from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks import evaluation as module
from earkit.benchmarks.evaluation import HEADLINES, Cell, available, evaluation, read, weights_checksum, write
from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks.evaluate import TASKS
from earkit.benchmarks.tasks.task import Score, Task
from earkit.distill.data.manifests import Row
from earkit.runtime.errors import ConfigError, DataError, TeacherNotFoundError


class Counted:
    """Tasks whose score is how often any was asked for; the one that is called `limit` kills the run."""

    def __init__(self, limit: int = 99) -> None:
        self.done: list[tuple[str, str, int]] = []
        self.limit = limit
        self.tasks = [self.task(name) for name in ("word_retrieval", "digits")]

    def task(self, name: str) -> Task:
        def score(representation: Representation, rows: object, seed: int) -> list[Score]:
            if len(self.done) == self.limit:
                raise KeyboardInterrupt
            self.done.append((representation.name, name, seed))
            value = float(len(self.done))
            return [Score(name, HEADLINES[name], value, (value - 1, value), "speakers", {"a": "b"}, {"n": 3})]

        return Task(name, "", (), (), list, lambda _: [], score)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for a model."""
    monkeypatch.setattr(module, "load", lambda name: Representation(Path(name).name))
    file = tmp_path / "m.onnx"
    file.write_bytes(b"weights")
    return file


def test_every_model_and_task_in_order_and_each_is_kept_at_once(model: Path) -> None:
    counted, kept = Counted(), []
    models = {"floor": "log-mel", "ours": str(model)}
    cells = evaluation(models, counted.tasks, 7, keep=lambda cells: kept.append(list(cells)))
    assert [(c.model, c.task, c.seed, c.scores[0].value) for c in cells] == [
        ("floor", "word_retrieval", 7, 1.0),
        ("floor", "digits", 7, 2.0),
        ("ours", "word_retrieval", 7, 3.0),
        ("ours", "digits", 7, 4.0),
    ]
    assert counted.done[0] == ("log-mel", "word_retrieval", 7)
    assert kept == [cells[:1], cells[:2], cells[:3], cells]
    assert cells[0].headline == cells[0].scores[0]


def test_a_killed_run_goes_on(model: Path, tmp_path: Path) -> None:
    out, models = tmp_path / "e.json", {"floor": "log-mel", "ours": str(model)}

    def run(counted: Counted) -> list[Cell]:
        def keep(cells: object) -> None:
            write(out, cells, {"seed": 0})

        return evaluation(models, counted.tasks, 0, kept=read(out), keep=keep)

    with pytest.raises(KeyboardInterrupt):
        run(Counted(limit=3))
    again = Counted()
    cells = run(again)
    assert again.done == [("m.onnx", "digits", 0)]
    assert [c.scores[0].value for c in cells] == [1.0, 2.0, 3.0, 1.0]
    assert read(out) == cells
    assert run(Counted(limit=0)) == cells


def test_what_changed_is_done_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"ours": str(model), "floor": "log-mel"}
    cells = evaluation(models, Counted().tasks, 0)

    def done(seed: int = 0) -> list[tuple[str, str, int]]:
        counted = Counted()
        evaluation(models, counted.tasks, seed, kept=cells)
        return counted.done

    assert done() == []
    assert len(done(seed=1)) == 4
    model.write_bytes(b"Weights")
    assert done() == [("m.onnx", "word_retrieval", 0), ("m.onnx", "digits", 0)]
    cells = evaluation(models, Counted().tasks, 0)
    monkeypatch.setattr(module, "task_rows", lambda task: [row("b")] if task.name == "digits" else [])
    assert [task for _, task, _ in done()] == ["digits", "digits"]


def row(text: str) -> Row:
    return Row(1, "a.flac", Path("a.flac"), None, None, {"text": text})


def test_clips_differ_by_order_and_by_what_is_known() -> None:
    same = module.clips_checksum([row("a"), row("b")])
    assert same == module.clips_checksum([row("a"), row("b")])
    assert (
        len({same, module.clips_checksum([row("b"), row("a")]), module.clips_checksum([row("a")] * 2)}) == 3
    )


def test_a_folder_is_its_weights_and_description(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "student"
    folder.mkdir(parents=True)
    (folder / "student.json").write_text("{}")
    (folder / "student.safetensors").write_bytes(b"1")
    before = weights_checksum(str(folder))
    (folder / "notes.txt").write_text("x")
    assert weights_checksum(str(tmp_path / "run")) == before
    (folder / "student.safetensors").write_bytes(b"2")
    assert weights_checksum(str(folder)) != before
    assert weights_checksum("mfcc") == ""


def test_all_is_looked_up_before_anything_is_done(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    with pytest.raises(TeacherNotFoundError, match="no model, teacher, peer or floor owl: give a model file"):
        evaluation({"ours": str(model), "owl": "owl"}, counted.tasks, 0)
    monkeypatch.setenv("EARKIT_CACHE", str(model.parent))
    with pytest.raises(TeacherNotFoundError, match="peers get whisper_tiny"):
        evaluation({"w": "whisper_tiny"}, counted.tasks, 0)
    assert counted.done == []


@pytest.mark.parametrize("text", ["", "[]", '{"cells": [{"model": "m"}]}'])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(ConfigError, match=r"e\.json holds no evaluation"):
        read(tmp_path / "e.json")


def test_tasks_without_their_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    said: list[str] = []
    with pytest.raises(DataError, match="`kit corpus get digits`"):
        available(["digits"], said.append)
    with pytest.raises(DataError, match="`kit corpus get --eval`"):
        available([], said.append)
    assert len(said) == len(TASKS)
    monkeypatch.setattr(module, "task_rows", lambda task: missing(task.name != "units"))
    assert [task.name for task in available([], lambda _: None)] == ["units"]


def missing(yes: bool) -> list:
    if yes:
        raise DataError("gone")
    return []


def test_no_interval_survives_as_none(tmp_path: Path) -> None:
    cell = Cell(
        "m", "w", "label_free", "c", 0, 1.5, (Score("label_free", "x", float(np.float32(0.1)), None),)
    )
    write(tmp_path / "e.json", [cell], {})
    assert read(tmp_path / "e.json") == [cell]
