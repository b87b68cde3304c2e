"""ABX error: triphones within one speaker (festvox-ru), and words across speakers (kajongg).

For triphones the layer is chosen on the development sentences, for words on the other language. The interval
draws contexts anew for the one speaker of the triphones, and speakers of X for words.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from earkit.benchmarks.abx import Cell, Item, abx, collapse, error
from earkit.benchmarks.bootstrap import Interval, statistic_interval
from earkit.benchmarks.representations import Array, Representation
from earkit.benchmarks.tasks import phones, word_retrieval
from earkit.benchmarks.tasks.manifest_rows import audio, label
from earkit.benchmarks.tasks.task import Indices, Score, Task, best
from earkit.distill.data.manifests import Row

PAUSE = "pau"


def score_triphones(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Tell the middle phone of three, the others being equal."""
    if representation.frames is None:
        return []
    (split,) = phones.splits(rows)
    ((_, develop),) = split.inner
    developed = _by_layer(representation, [rows[i] for i in develop])
    layer = best(list(developed), lambda name: -error(abx(developed[name], across=False, seed=seed)))
    items = _by_layer(representation, [rows[i] for i in split.test], layer)[layer]
    cells = abx(items, across=False, seed=seed)
    contexts = [cell.context for cell in cells]
    return [
        Score(
            "triphone_abx",
            "error within speaker",
            error(cells),
            _interval(cells, contexts, seed),
            "contexts",
            {split.name: layer},
            {"cells": len(cells), "contexts": len(set(contexts))},
        )
    ]


def _by_layer(
    representation: Representation, rows: Sequence[Row], only: str | None = None
) -> dict[str, list[Item]]:
    """Cut every phone with its neighbours out of sentences, pauses aside; by layer, or of one alone."""
    assert representation.frames is not None
    items: dict[str, list[Item]] = {}
    for row in rows:
        said = phones.spans(row)
        for layer, frames in representation.frames(audio(row)).items():
            if only in {None, layer}:
                items.setdefault(layer, []).extend(
                    Item(
                        _cut(representation, frames, before.start, after.end),
                        middle.label,
                        f"{before.label} {after.label}",
                        label(row, "speaker"),
                    )
                    for before, middle, after in zip(said, said[1:], said[2:], strict=False)
                    if PAUSE not in {before.label, middle.label, after.label}
                )
    return items


def _cut(representation: Representation, frames: Array, start: int, end: int) -> Array:
    """Take the frames whose middle is in the span, or the one that is nearest to its own."""
    middles = representation.first_centre + representation.hop * np.arange(len(frames))
    inside = frames[(middles >= start) & (middles < end)]
    if len(inside):
        return inside
    return frames[representation.frame_at(np.array([(start + end) / 2]), len(frames))]


def score_words(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Tell one word from all others, by another voice."""
    if representation.frames is None:
        return []
    made = [representation.frames(audio(row)) for row in rows]

    def cells(layer: str, where: Indices) -> list[Cell]:
        items = [Item(made[i][layer], label(rows[i], "label"), "", label(rows[i], "speaker")) for i in where]
        return abx(items, across=True, seed=seed)

    def reached(layer: str, where: Indices) -> float:
        return -error(cells(layer, where))

    scores = []
    for split in word_retrieval.splits(rows):
        layer = best(list(made[0]), partial(reached, where=split.train))
        found = cells(layer, split.test)
        speakers = [cell.speaker_of_x for cell in found]
        scores.append(
            Score(
                "word_abx",
                f"error across speakers, {split.name}",
                error(found),
                _interval(found, speakers, seed),
                "speakers",
                {split.name: layer},
                {"cells": len(found), "speakers": len(set(speakers))},
            )
        )
    return scores


def _interval(cells: Sequence[Cell], source: Sequence[str], seed: int) -> Interval:
    names, of = np.unique(source, return_inverse=True)
    collapsed = collapse(cells)
    return statistic_interval(lambda drawn: collapsed(drawn[of]), len(names), seed)


TRIPHONES = Task(
    "triphone_abx",
    "Russian triphones that differ in the middle, within one speaker",
    ("festvox-ru",),
    ("sha256",),
    list,
    phones.splits,
    score_triphones,
)
WORDS = Task(
    "word_abx",
    "English and German words across speakers",
    ("kajongg",),
    ("sha256", "speaker"),
    list,
    word_retrieval.splits,
    score_words,
)
