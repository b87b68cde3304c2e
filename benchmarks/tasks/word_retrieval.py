"""Spoken words across speakers: whether the nearest word of another voice of kajongg is the same.

Each language is searched by itself, and what there is to choose is chosen on the other one. `1-NN` and `MAP`
are of vectors standardised for each speaker, which needs some speech of whoever asks; `1-NN, as is` is not.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from earkit.benchmarks.bootstrap import mean_interval
from earkit.benchmarks.clip_vectors import clip_vectors, standardised_by
from earkit.benchmarks.representations import Representation
from earkit.benchmarks.retrieval import per_query, retrieval
from earkit.benchmarks.tasks.manifest_rows import audio, column
from earkit.benchmarks.tasks.task import Indices, Score, Split, Task, best
from earkit.distill.data.manifests import Row

LANGUAGES = ("de", "en")


def splits(rows: Sequence[Row]) -> list[Split]:
    """Choose on one language, test on the other."""
    of = column(rows, "language")
    places = {language: np.flatnonzero(of == language) for language in LANGUAGES}
    return [Split(test, places[chosen], places[test]) for chosen, test in (LANGUAGES[::-1], LANGUAGES)]


def score(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Give three figures for each language."""
    words, speakers = column(rows, "label"), column(rows, "speaker")
    as_is = clip_vectors(representation, map(audio, rows))
    standardised = {choice: standardised_by(vectors, speakers) for choice, vectors in as_is.items()}

    def first(choice: str, where: Indices) -> float:
        return retrieval(standardised[choice][where], words[where], speakers[where]).first

    made = []
    for split in splits(rows):
        at = split.test
        choice = best(list(as_is), partial(first, where=split.train))
        found = per_query(standardised[choice][at], words[at], speakers[at])
        plain = per_query(as_is[choice][at], words[at], speakers[at])
        for metric, each in (("1-NN", found.first), ("MAP", found.precision), ("1-NN, as is", plain.first)):
            made.append(
                Score(
                    TASK.name,
                    f"{metric}, {split.name}",
                    float(each.mean()),
                    mean_interval(each, speakers[at][found.query], seed),
                    "speakers",
                    {split.name: choice},
                    {"clips": len(at), "words": len(set(words[at])), "speakers": len(set(speakers[at]))},
                )
            )
    return made


TASK = Task(
    "word_retrieval",
    "the same spoken word of another voice, 42 English and 41 German words",
    ("kajongg",),
    ("sha256", "speaker"),
    list,
    splits,
    score,
)
