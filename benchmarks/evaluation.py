"""Many models on many tasks: cells that are kept one by one, so that a killed run goes on where it was.

A cell belongs to the very bytes of a model and to the very clips of a task: a model that was trained again,
or a corpus that was made again, is evaluated again.
"""

import dataclasses
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earkit.benchmarks.machine import machine
from earkit.benchmarks.peers import PEERS
from earkit.benchmarks.representations import FLOORS, Representation, load, remembering
from earkit.benchmarks.tasks.evaluate import choose, evaluate, task_rows
from earkit.benchmarks.tasks.task import Score, Task
from earkit.distill.data.manifests import Row
from earkit.distill.teachers.resolve import find, resolve
from earkit.runtime.atomic import write_text
from earkit.runtime.errors import ConfigError, DataError, TeacherNotFoundError
from earkit.runtime.find_model import KINDS, built_in, find_model

Say = Callable[[str], None]
Keep = Callable[[Sequence["Cell"]], None]

HEADLINES = {
    "word_retrieval": "1-NN, en",
    "query_by_example": "found, en",
    "word_abx": "error across speakers, en",
    "speaker_identification": "accuracy",
    "digits": "accuracy",
    "language_identification": "balanced accuracy",
    "instruments": "balanced accuracy",
    "character_identification": "balanced accuracy",
    "phone_classification": "frame accuracy",
    "triphone_abx": "error within speaker",
    "units": "PNMI",
    "label_free": "effective rank of clips",
}
"""The figure of each task that stands in a table of one column a task; all others are stored beside it."""
LOWER_IS_BETTER = frozenset({"word_abx", "triphone_abx"})
NOT_A_SHARE = frozenset({"label_free"})
"""Tasks whose headline is no share of 1."""


@dataclass(frozen=True)
class Cell:
    """What a model scored in a task. No scores: it cannot do it, as it has no frames.

    weights, clips: checksums of the model's files, and of the manifest's rows of the task.
    """

    model: str
    weights: str
    task: str
    clips: str
    seed: int
    seconds: float
    scores: tuple[Score, ...]

    @property
    def headline(self) -> Score | None:
        """Its score in the table of one column a task."""
        return next((s for s in self.scores if s.metric == HEADLINES[self.task]), None)


def evaluation(
    models: Mapping[str, str],
    tasks: Sequence[Task],
    seed: int,
    *,
    kept: Iterable[Cell] = (),
    keep: Keep = lambda _: None,
    say: Say = lambda _: None,
) -> list[Cell]:
    """Give a cell for every model and task, in this order; what is `kept` of them is not done again.

    models: what to load, by the name to give it. keep: is called after every cell with all cells so
    far. Every model is looked up before the first is loaded.
    """
    weights = {name: weights_checksum(what) for name, what in models.items()}
    clips = {task.name: clips_checksum(task_rows(task)) for task in tasks}
    known = {(cell.model, cell.task, cell.seed): cell for cell in kept}
    cells: list[Cell] = []
    for name, what in models.items():
        loaded: Representation | None = None
        for task in tasks:
            cell = known.get((name, task.name, seed))
            if cell is None or (cell.weights, cell.clips) != (weights[name], clips[task.name]):
                loaded = loaded or remembering(load(what))
                say(f"{name}: {task.name}")
                begun = time.perf_counter()
                scores = tuple(evaluate(loaded, [task], seed))
                seconds = round(time.perf_counter() - begun, 1)
                cell = Cell(name, weights[name], task.name, clips[task.name], seed, seconds, scores)
                known[name, task.name, seed] = cell
                keep(list(known.values()))
            cells.append(cell)
    return cells


def available(names: Sequence[str], say: Say) -> list[Task]:
    """Give the tasks of these names; without any, all whose corpora are here, and say which are not."""
    tasks, missing = choose(names), {}
    for task in tasks:
        try:
            task_rows(task)
        except DataError as error:
            if names:
                raise
            missing[task.name] = str(error)
    for name, why in missing.items():
        say(f"leaving out {name}: {why}")
    there = [task for task in tasks if task.name not in missing]
    if not there:
        raise DataError("no corpus of any task is on this machine: make them with `kit corpus get --eval`")
    return there


def weights_checksum(name: str) -> str:
    """Identify the bytes that a name stands for; a floor has none."""
    if name in FLOORS:
        return ""
    digest = hashlib.sha256()
    for file in _files(name):
        digest.update(file.name.encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _files(name: str) -> list[Path]:
    """Give the files of a model, teacher or peer, or say what could have been named."""
    if Path(name).suffix in KINDS or name in built_in():
        return [find_model(name)]
    found = find(name)
    if found is None and name not in PEERS:
        raise TeacherNotFoundError(
            f"there is no model, teacher, peer or floor {name}: give a model file, a run, a teacher of "
            f"`kit teachers list`, a peer ({', '.join(PEERS)}) or a floor ({', '.join(FLOORS)})"
        )
    found = found or resolve(name)  # which says how to fetch a peer
    folder = found if found.is_dir() else found.parent
    kinds = {*KINDS, ".toml", ".json", ".safetensors", ".bin"}
    return sorted(file for file in folder.iterdir() if file.suffix in kinds)


def clips_checksum(rows: Sequence[Row]) -> str:
    """Identify the clips of a task: which, in which order, and all that is known of them."""
    whole = json.dumps([[row.path, dict(row.labels)] for row in rows])
    return hashlib.sha256(whole.encode()).hexdigest()


def to_json(cells: Sequence[Cell], settings: Mapping[str, Any], command: str = "") -> str:
    """Write cells as JSON, with versions, machine and git state."""
    head = {"command": command or shlex.join(["kit", *sys.argv[1:]]), "machine": machine()}
    rows = [dataclasses.asdict(cell) for cell in cells]
    return json.dumps({**head, "settings": dict(settings), "cells": rows}, indent=1) + "\n"


def write(path: Path, cells: Sequence[Cell], settings: Mapping[str, Any]) -> None:
    """Keep cells in a file, whole or not at all."""
    write_text(path, to_json(cells, settings))


def read(path: Path) -> list[Cell]:
    """Undo `write`; nothing where there is no file."""
    if not path.is_file():
        return []
    try:
        return [of_row(row) for row in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no evaluation: give another --out, or --no-resume to replace it"
        ) from error


def of_row(row: Mapping[str, Any]) -> Cell:
    """Undo `dataclasses.asdict`, and JSON's lists."""
    scores = (
        Score(**{**score, "interval": tuple(score["interval"]) if score["interval"] else None})
        for score in row["scores"]
    )
    return Cell(**{**row, "scores": tuple(scores)})
