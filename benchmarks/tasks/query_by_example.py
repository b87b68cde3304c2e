"""Query by example: a spoken word of kajongg is sought in longer recordings of other voices.

Each voice's words, in a random order, are joined to recordings of six. A model's frames are compared by
subsequence dynamic time warping, after standardising them for each voice; an embedding, with the embeddings
of windows of about the query's length. What does better on the other language is used. The answer counts as
found when the middle of the best match over all recordings lies within the word; `MAP` ranks recordings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.bootstrap import mean_interval
from earkit.benchmarks.clip_vectors import EMBEDDING, standardised_by
from earkit.benchmarks.dynamic_time_warping import angles, padded, subsequence_matches, windows
from earkit.benchmarks.representations import Array, Representation
from earkit.benchmarks.tasks import word_retrieval
from earkit.benchmarks.tasks.manifest_rows import audio, column, label
from earkit.benchmarks.tasks.task import Indices, Score, Task, best
from earkit.benchmarks.unit_length import unit_length
from earkit.distill.data.manifests import Row

WORDS = 6  # in a recording
WINDOWS = (6400, 9600, 14400, 21600)  # samples, each half as long again; a query takes the nearest
HOPS = 4  # windows begin every quarter of their length


@dataclass(frozen=True)
class Recording:
    """Some words of one voice, one after the other. starts: (words + 1,) in samples, the last one its end."""

    samples: Array
    speaker: str
    words: tuple[str, ...]
    starts: NDArray[np.int64]

    def said_at(self, sample: float) -> str:
        """Which word is said there."""
        place = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return self.words[min(max(place, 0), len(self.words) - 1)]


@dataclass(frozen=True)
class Hits:
    """The best match of a query in each recording: what it costs, and the sample in its middle."""

    cost: NDArray[np.float64]
    middle: NDArray[np.float64]


Search = Callable[[int, Indices], Hits]
"""A query and some recordings, all by their numbers -> the best matches."""


def recordings(rows: Sequence[Row], clips: Sequence[Array], seed: int) -> list[Recording]:
    """Join the words of each voice; the last recording of a voice may have fewer."""
    rng = np.random.default_rng(seed)
    speakers = column(rows, "speaker")
    made = []
    for speaker in np.unique(speakers):
        order = rng.permutation(np.flatnonzero(speakers == speaker))
        for begin in range(0, len(order), WORDS):
            some = order[begin : begin + WORDS]
            starts = np.cumsum([0, *(len(clips[i]) for i in some)])
            words = tuple(label(rows[i], "label") for i in some)
            made.append(Recording(np.concatenate([clips[i] for i in some]), str(speaker), words, starts))
    return made


def score(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Give two figures for each language."""
    speakers = column(rows, "speaker")
    clips = [audio(row) for row in rows]
    among = recordings(rows, clips, seed)
    searches = {
        **_by_frames(representation, clips, speakers, among),
        **_by_embedding(representation, clips, among),
    }

    def found(way: str, queries: Indices) -> float:
        return float(_answers(searches[way], queries, rows, among)[0].mean())

    made = []
    for split in word_retrieval.splits(rows):
        way = best(list(searches), partial(found, queries=split.train))
        answers = _answers(searches[way], split.test, rows, among)
        for metric, each in zip(("found", "MAP"), answers, strict=True):
            made.append(
                Score(
                    TASK.name,
                    f"{metric}, {split.name}",
                    float(each.mean()),
                    mean_interval(each, speakers[split.test], seed),
                    "speakers",
                    {split.name: way},
                    {"queries": len(each), "speakers": len(set(speakers[split.test]))},
                )
            )
    return made


def _answers(
    search: Search, queries: Indices, rows: Sequence[Row], among: Sequence[Recording]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seek each query in what its language's other voices say: whether it was found; average precision."""
    spoken = {label(rows[i], "speaker") for i in queries}
    recorded = np.array([recording.speaker for recording in among])
    found, precision = [], []
    for i in queries:
        word, asks = label(rows[i], "label"), label(rows[i], "speaker")
        foreign = np.flatnonzero(np.isin(recorded, sorted(spoken - {asks})))
        hits = search(int(i), foreign)
        ranked = np.argsort(hits.cost, kind="stable")
        at = np.flatnonzero([word in among[foreign[k]].words for k in ranked])
        first = ranked[0]
        found.append(among[foreign[first]].said_at(float(hits.middle[first])) == word)
        precision.append((np.arange(1, len(at) + 1) / (at + 1)).mean())
    return np.array(found, np.float64), np.array(precision, np.float64)


def _by_frames(
    representation: Representation,
    clips: Sequence[Array],
    speakers: NDArray[np.str_],
    among: Sequence[Recording],
) -> dict[str, Search]:
    """Warp, one way for each layer; nothing without frames."""
    make = representation.frames
    if make is None:
        return {}
    queries = [make(clip) for clip in clips]
    documents = [make(recording.samples) for recording in among]
    recorded = np.array([recording.speaker for recording in among])
    searches: dict[str, Search] = {}
    for layer in queries[0]:
        whole = _standardised([frames[layer] for frames in documents], recorded)
        lengths = np.array([len(frames) for frames in whole])
        searches[f"{layer}, warping"] = _Warping(
            representation,
            _standardised([frames[layer] for frames in queries], speakers),
            padded(whole, int(lengths.max())),
            lengths,
        )
    return searches


@dataclass(frozen=True)
class _Warping:
    """A search by frames of length one. documents: (recordings, time, dim) of which `lengths` count."""

    representation: Representation
    queries: Sequence[Array]
    documents: Array
    lengths: Indices

    def __call__(self, query: int, some: Indices) -> Hits:
        matches = subsequence_matches(angles(self.queries[query], self.documents[some]), self.lengths[some])
        middle = (matches.begin + matches.end) / 2
        return Hits(matches.cost, self.representation.first_centre + self.representation.hop * middle)


def _standardised(items: Sequence[Array], speakers: NDArray[np.str_]) -> list[Array]:
    """Standardise the frames of each voice, then give them length one."""
    owner = np.repeat(speakers, [len(item) for item in items])
    together = unit_length(standardised_by(np.concatenate(items), owner))
    return np.split(together, np.cumsum([len(item) for item in items])[:-1])


def _by_embedding(
    representation: Representation, clips: Sequence[Array], among: Sequence[Recording]
) -> dict[str, Search]:
    """Compare with windows; nothing without an embedding."""
    embed = representation.vector
    if embed is None:
        return {}
    queries = unit_length(np.stack([embed(clip) for clip in clips]))
    nearest = [min(WINDOWS, key=lambda size: abs(np.log(size / len(clip)))) for clip in clips]
    places = {
        (k, size): list(windows(len(recording.samples), size, size // HOPS))
        for k, recording in enumerate(among)
        for size in set(nearest)
    }
    vectors = {
        (k, size): unit_length(np.stack([embed(among[k].samples[begin:end]) for begin, end in cut]))
        for (k, size), cut in places.items()
    }

    def search(query: int, some: Indices) -> Hits:
        keys = [(int(k), nearest[query]) for k in some]
        cosines = [vectors[key] @ queries[query] for key in keys]
        middles = [np.mean(places[key][int(each.argmax())]) for key, each in zip(keys, cosines, strict=True)]
        return Hits(np.array([1 - each.max() for each in cosines]), np.array(middles))

    return {f"{EMBEDDING}, windows": search}


TASK = Task(
    "query_by_example",
    "spoken words found in longer recordings of other voices",
    ("kajongg",),
    ("sha256", "speaker"),
    list,
    word_retrieval.splits,
    score,
)
