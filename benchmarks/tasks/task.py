"""What a task is: its clips, how they are divided, and how a representation is scored on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.corpora.overlap import overlap
from earkit.benchmarks.representations import Representation
from earkit.distill.data.manifests import Row

Indices = NDArray[np.int64]
"""Rows of a task, by their place in what `Task.select` gave."""
FOLDS = 3


@dataclass(frozen=True)
class Split:
    """A head learns from `train`, and `test` scores it.

    inner: parts of `train` to learn from and parts to choose hyper-parameters by; nothing is chosen on
    `test`. Without a head, `train` is where hyper-parameters are chosen, and `inner` is empty.
    """

    name: str
    train: Indices
    test: Indices
    inner: tuple[tuple[Indices, Indices], ...] = ()


@dataclass(frozen=True)
class Score:
    """One figure. interval: of 95 %, over `resampled`; None where nothing can be drawn anew."""

    task: str
    metric: str
    value: float
    interval: tuple[float, float] | None
    resampled: str = ""
    hyper_parameters: Mapping[str, str] = field(default_factory=dict)
    """What the development data chose, by split."""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A probe.

    corpora: those it needs. select: rows of these corpora -> those it uses, in a fixed order. apart: columns
    of the manifest in which no two sides of a split have a value in common. score: hears the selected rows.
    """

    name: str
    about: str
    corpora: tuple[str, ...]
    apart: tuple[str, ...]
    select: Callable[[Sequence[Row]], list[Row]]
    splits: Callable[[Sequence[Row]], list[Split]]
    score: Callable[[Representation, Sequence[Row], int], list[Score]]


def best(choices: Sequence[str], reached: Callable[[str], float]) -> str:
    """Give the choice that reached most on development data; an only one is not tried."""
    return max(choices, key=reached) if len(choices) > 1 else choices[0]


def leave_one_out(groups: Sequence[str], inner: int = 4) -> list[Split]:
    """Test on each group in turn; of the others, about a quarter of the groups at a time chooses."""
    names, group = np.unique(groups, return_inverse=True)
    splits = []
    for out, name in enumerate(names):
        others = np.array([k for k in range(len(names)) if k != out])
        train = np.flatnonzero(group != out)
        folds = np.array_split(others, min(inner, len(others)))
        splits.append(
            Split(
                str(name),
                train,
                np.flatnonzero(group == out),
                tuple(
                    (train[~np.isin(group[train], held)], train[np.isin(group[train], held)])
                    for held in folds
                ),
            )
        )
    return splits


def as_divided(name: str, parts: Sequence[str], checksums: Sequence[int]) -> list[Split]:
    """Follow the split of a corpus; of its training part a third, by checksums, chooses in turn."""
    part, fold = np.array(parts), np.array(checksums) % FOLDS
    train = np.flatnonzero(part == "train")
    inner = tuple((train[fold[train] != k], train[fold[train] == k]) for k in range(FOLDS))
    return [Split(name, train, np.flatnonzero(part == "test"), inner)]


def leaks(task: Task, rows: Sequence[Row]) -> list[str]:
    """Say where two sides of a split of these rows have something in common, or a row is on both.

    What is of one value in all of a split's training cannot part it again for the choice.
    """
    found = []
    for split in task.splits(rows):
        trained = {key: {rows[i].labels.get(key) for i in split.train} for key in task.apart}
        parting = [key for key in task.apart if len(trained[key]) > 1]
        sides = [("train and test", split.train, split.test, task.apart)]
        sides += [("learn and choose", *fold, tuple(parting)) for fold in split.inner]
        for kind, one, other, keys in sides:
            shared = overlap(_labelled(rows, one), _labelled(rows, other), ("path", *keys))
            found += [f"{task.name}, {split.name}, {kind}: {k} {min(v)}" for k, v in shared.items()]
        if not all(np.isin(part, split.train).all() for fold in split.inner for part in fold):
            found.append(f"{task.name}, {split.name}: what chooses is not from what trains")
    return found


def _labelled(rows: Sequence[Row], places: Indices) -> list[dict[str, str]]:
    return [{**rows[i].labels, "path": str(rows[i].place)} for i in places]
