"""Sentences with phone labels as tasks see them: what is said where, on one grid for all representations."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.representations import Array, Representation
from earkit.benchmarks.tasks.manifest_rows import Labels, audio, label
from earkit.benchmarks.tasks.task import Indices, Split
from earkit.distill.data.manifests import Row
from earkit.distill.speech.prosody import Span

T = TypeVar("T", bound=np.generic)

STEP = 320
"""Samples from one labelled point to the next: 20 ms. A model with longer frames answers twice with one."""


def spans(row: Row) -> list[Span]:
    """Read the phones of a sentence."""
    return [
        Span(phone, int(start), int(end))
        for phone, start, end in (text.rsplit(":", 2) for text in label(row, "phones").split())
    ]


def points(row: Row, samples: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Give places every `STEP` in a sentence of so many samples, and the phone at each. Both (points,)."""
    said = spans(row)
    ends = np.array([span.end for span in said])
    places = np.arange(STEP // 2, min(samples, int(ends[-1])), STEP)
    phones = np.array([span.label for span in said])
    return places, phones[np.searchsorted(ends, places, side="right")]


def at_points(representation: Representation, frames: NDArray[T], places: NDArray[np.int64]) -> NDArray[T]:
    """Take what stands nearest to each place: of frames (time, dim), or of tokens (time,)."""
    return frames[representation.frame_at(places, len(frames))]


def some_frames(
    representation: Representation,
    rows: Sequence[Row],
    chosen: Indices,
    per_sentence: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], Labels, Indices]:
    """Take some frames of each chosen sentence: by layer, with their phones, and the row that each is of."""
    assert representation.frames is not None
    frames: dict[str, list[Array]] = {}
    phones, sentence = [], []
    for i in chosen:
        samples = audio(rows[i])
        places, said = points(rows[i], len(samples))
        some = rng.permutation(len(places))[:per_sentence]
        for layer, made in representation.frames(samples).items():
            frames.setdefault(layer, []).append(at_points(representation, made, places[some]))
        phones.append(said[some])
        sentence.append(np.full(len(some), i))
    joined = {layer: np.concatenate(parts) for layer, parts in frames.items()}
    return joined, np.concatenate(phones), np.concatenate(sentence)


def splits(rows: Sequence[Row]) -> list[Split]:
    """Follow the split of the corpus, which is by sentence."""
    part = np.array([label(row, "split") for row in rows])
    learn, choose, test = (np.flatnonzero(part == name) for name in ("train", "development", "test"))
    return [Split("sentences", np.sort(np.concatenate([learn, choose])), test, ((learn, choose),))]
