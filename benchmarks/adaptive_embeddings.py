"""One model file, vectors of many sizes, on real recordings: what they keep, how fast is search.

    kit corpus get kajongg digits
    python -m earkit.benchmarks.adaptive_embeddings --model tiny

Every way to store a vector (Matryoshka prefixes in float32, int8 and bits; CSR codes) is judged by two tasks
of `kit eval`, word retrieval and digits, with vectors as they come back from where they are stored. Those of
the words, repeated to 100,000, are then searched exactly, in turns: the time from a query to its best ten.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from earkit.benchmarks.compact_vectors import Storage, bytes_per_vector, stored, truncated
from earkit.benchmarks.representations import Array, Representation
from earkit.benchmarks.results import store
from earkit.benchmarks.tasks import digits, word_retrieval
from earkit.benchmarks.tasks.evaluate import task_rows
from earkit.benchmarks.tasks.manifest_rows import audio
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.checksum import sha256
from earkit.runtime.embedder import Embedder
from earkit.runtime.model_file import Sparse
from earkit.runtime.outputs import SparseCode
from earkit.runtime.search.postings import codes, inverted, sparse_scores
from earkit.runtime.search.signs import agreements, rotation, signs
from earkit.runtime.search.vectors import cosines, rounded

NAME = "adaptive_embeddings"
COMMAND = "python -m earkit.benchmarks.adaptive_embeddings --model MODEL"
LATENTS = (64, 32, 16, 8)
TOP = 10
IN_A_ROW = 10

Search = Callable[[int], NDArray[Any]]
"""Scores all vectors for the query of that number."""


@dataclass(frozen=True)
class Heard:
    """What a model file makes of clips: embeddings of full width, and codes of the most latents."""

    whole: Array
    coded: SparseCode | None

    @classmethod
    def of(cls, embedder: Embedder, clips: list[Array]) -> "Heard":
        """Embed clips."""
        sparse = embedder.info.sparse
        return cls(
            embedder.embed(clips, SAMPLE_RATE, output="embedding"),
            embedder.embed(clips, SAMPLE_RATE, output="sparse", k=sparse.k_max) if sparse else None,
        )

    def repeated(self, count: int) -> "Heard":
        """Repeat them until there are so many."""
        rows = np.arange(count) % len(self.whole)
        return Heard(self.whole[rows], _part(self.coded, rows) if self.coded else None)


@dataclass(frozen=True)
class Way:
    """A way to store vectors. size: dims, or latents."""

    name: str
    storage: Storage
    size: int

    def code(self, heard: Heard) -> SparseCode:
        """Give the strongest latents; the first ones of a longer code."""
        assert heard.coded is not None
        return _part(heard.coded, np.s_[:, : self.size])

    def vectors(self, heard: Heard) -> Array:
        """Give what is left of vectors when they were stored."""
        if self.storage == "sparse":
            return stored("sparse", self.code(heard).dense())
        cut = truncated(heard.whole, self.size)
        return stored(self.storage, cut @ rotation(self.size) if self.storage == "binary" else cut)

    def search(self, known: Heard, asked: Heard) -> Search:
        """Store vectors as they are searched."""
        if self.storage == "sparse":
            code, wanted = self.code(known), self.code(asked)
            postings, count = inverted(codes(code), code.width), len(known.whole)
            return lambda number: sparse_scores(postings, count, _part(wanted, number), self.size)
        cut, queries = truncated(known.whole, self.size), truncated(asked.whole, self.size)
        if self.storage == "binary":
            words = signs(cut)
            return lambda number: agreements(words, queries[number])
        if self.storage == "int8":
            rows = rounded(cut, "int8")
            return lambda number: cosines(rows, queries[number])
        return lambda number: cut @ queries[number]


def _part(code: SparseCode, where: Any) -> SparseCode:  # noqa: ANN401 - whatever indexes an array
    return SparseCode(code.indices[where], code.values[where], code.width)


def ways(dims: Sequence[int], sparse: Sparse | None) -> list[Way]:
    """Give all that a model file can be asked for; full width in float32 first."""
    widest = sorted(dims, reverse=True)
    made = [Way("prefix", storage, dim) for storage in ("float32", "int8", "binary") for dim in widest]
    coded = [Way("CSR code", "sparse", k) for k in LATENTS if sparse and sparse.k_min <= k <= sparse.k_max]
    return made + coded


def quality(embedder: Embedder, ways: Sequence[Way], seed: int) -> list[dict[str, Any]]:
    """Score each way on both tasks."""
    tasks = [(task, task_rows(task)) for task in (word_retrieval.TASK, digits.TASK)]
    clips = {samples.tobytes(): samples for _, rows in tasks for samples in map(audio, rows)}
    heard, place = Heard.of(embedder, list(clips.values())), {key: i for i, key in enumerate(clips)}
    made = []
    for way in ways:
        vectors = way.vectors(heard)
        of_way = Representation(way.name, vector=_looked_up(vectors, place))
        scores = [score for task, rows in tasks for score in task.score(of_way, rows, seed)]
        made.append({score.metric: score.value for score in scores})
    return made


def _looked_up(vectors: Array, place: Mapping[bytes, int]) -> Callable[[Array], Array]:
    def vector(clip: Array) -> Array:
        made: Array = vectors[place[clip.tobytes()]]
        return made

    return vector


def times(ways: Sequence[Way], known: Heard, asked: Heard) -> list[list[float]]:
    """Ask every way every query, `IN_A_ROW` at a time, in turns; gives seconds by way and query."""
    searches = [way.search(known, asked) for way in ways]
    taken: list[list[float]] = [[] for _ in ways]
    for begin in range(0, len(asked.whole), IN_A_ROW):
        for search, own in zip(searches, taken, strict=True):
            for number in range(begin, min(begin + IN_A_ROW, len(asked.whole))):
                begun = time.perf_counter()
                np.argpartition(-search(number), TOP)
                own.append(time.perf_counter() - begun)
    return taken


def measure(embedder: Embedder, *, count: int, seed: int) -> list[dict[str, Any]]:
    """Give a row for each way."""
    everyone = ways(embedder.info.dims, embedder.info.sparse)
    words = Heard.of(embedder, [audio(row) for row in task_rows(word_retrieval.TASK)])
    with threadpool_limits(1):
        taken = times(everyone, words.repeated(count), words)
    full = bytes_per_vector("float32", embedder.info.dim, embedder.info.dim)
    rows = []
    for way, scores, own in zip(everyone, quality(embedder, everyone, seed), taken, strict=True):
        width = embedder.info.sparse.width if embedder.info.sparse else 0
        size = bytes_per_vector(way.storage, way.size, width)
        faster = statistics.median(whole / mine for whole, mine in zip(taken[0], own, strict=True))
        rows.append(
            {
                "name": way.name,
                "storage": way.storage,
                "size": way.size,
                "bytes": size,
                "times_smaller": round(full / size, 1),
                **{name: round(value, 4) for name, value in scores.items()},
                "query_ms": round(1000 * statistics.median(own), 3),
                "times_faster": round(faster, 1),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="built-in name, model file or run")
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    embedder = Embedder.load(given.model)
    rows = measure(embedder, count=given.vectors, seed=given.seed)
    settings = {"model": embedder.info.name, "model_sha256": sha256(embedder.path)}
    print(store(NAME, COMMAND, rows, **settings, vectors=given.vectors, seed=given.seed))


if __name__ == "__main__":
    main()
