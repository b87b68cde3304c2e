"""Search in 100,000 vectors: every method against an exact search of float32 vectors in memory.

    python -m earkit.benchmarks.search_speed [--store]

The vectors are embeddings of single words of the embedded corpus by its training speakers, each many times
with Gaussian noise of another length; queries are words of the test speakers. Embeddings and codes are of the
`sparse` student that `embedding_quality` makes. Every way answers ten queries in a row, in turns, so that all
share the machine's moods and each has what it reads where it would be in a process that searches by it: the
exact search's vectors fit into no cache. Times are medians over queries.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import store as store_rows
from earkit.benchmarks.spoken_words import words
from earkit.distill.distilled import find_student
from earkit.distill.losses.csr import CSR
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.cache import cache_folder
from earkit.runtime.outputs import SparseCode
from earkit.runtime.search import store
from earkit.runtime.search.index import FIRST_SIGNS, Found, Index, Method
from earkit.runtime.search.postings import Codes, codes, inverted
from earkit.runtime.search.rows import Rows, arrays_of
from earkit.runtime.search.short import short_dim, shortened
from earkit.runtime.search.signs import signs
from earkit.runtime.search.vectors import Precision, rounded

NAME = "search_speed"
COMMAND = "python -m earkit.benchmarks.search_speed --store"
TOP = 10
IN_A_ROW = 10
REFERENCE = "exact, float32 in memory"

Array = NDArray[np.float32]
Answer = Callable[[int], Found]
"""Answers the query of that number."""


@dataclass(frozen=True)
class Way:
    """A way to search. bytes_per_vector: all that it reads; seconds: to make that of the vectors."""

    name: str
    answer: Answer
    bytes_per_vector: float
    seconds: float


def noisy(vectors: Array, count: int, length: float, seed: int) -> Array:
    """Repeat vectors until there are `count`, each with noise of about that length, of length one again."""
    rng = np.random.default_rng(seed)
    repeated = vectors[np.arange(count) % len(vectors)]
    made = repeated + rng.standard_normal(repeated.shape, np.float32) * (length / vectors.shape[1] ** 0.5)
    unit: Array = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def encoded(csr: CSR, vectors: Array) -> SparseCode:
    """Sparse codes of embeddings, of the length that the student was trained for most."""
    whole = torch.from_numpy(vectors)
    with torch.inference_mode():
        parts = [csr.encode(whole[i : i + 4096], csr.config.k) for i in range(0, len(whole), 4096)]
    indices, values = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
    return SparseCode(indices, values, csr.config.width)


def exact(vectors: Array, query: Array) -> Found:
    """Search as one would with NumPy."""
    scores = vectors @ query
    rows = np.argpartition(-scores, TOP)[:TOP]
    rows = rows[np.argsort(-scores[rows])]
    return rows, scores[rows]


def written(folder: Path, model: store.Model, vectors: Array, coded: Codes, precision: Precision) -> Index:
    """Write an index as `kit index` does, and open it."""
    places = np.arange(2 * len(vectors)).reshape(-1, 2)
    arrays = arrays_of([Rows(places, rounded(vectors, precision), coded)], model)
    # Building a graph takes as long as all else here, and it is the same for both precisions.
    settings = store.Settings(2, 1, precision, codes=True, graph=precision == "float16")
    head = store.Head(store.VERSION, "", "", model, settings, len(vectors), 0)
    store.write(folder, head, (store.SoundFile("bench", 0, 0, ""),), arrays)
    return Index(folder)


def ways(folder: Path, csr: CSR, dims: tuple[int, ...], vectors: Array, queries: Array) -> list[Way]:
    """Make everything that is compared."""
    count, dim = vectors.shape
    short = short_dim(dims, dim)
    asked, coded = encoded(csr, queries), codes(encoded(csr, vectors))
    seconds = {
        "float16": _seconds(lambda: rounded(vectors, "float16")),
        "int8": _seconds(lambda: rounded(vectors, "int8")),
        "exact": 0.0,
        "funnel": _seconds(lambda: (shortened(vectors, short), signs(vectors))),
        "binary": _seconds(lambda: signs(vectors)),
        "sparse": _seconds(lambda: inverted(coded, asked.width)),
    }
    model = store.Model("bench", "", "", "", 0, dim, short, csr.config.width, csr.config.k)
    plain = written(folder / "int8", model, vectors, coded, "int8")
    begun = time.perf_counter()
    whole = written(folder / "float16", model, vectors, coded, "float16")
    seconds["graph"] = time.perf_counter() - begun  # writing all else takes a second of it
    graph = (whole.folder / whole.head.data / store.GRAPH).stat().st_size
    sizes = {
        "float16": 2 * dim,
        "int8": dim,
        "exact": 0,
        "funnel": short + 8 * FIRST_SIGNS,
        "binary": dim / 8,
        "sparse": 5 * csr.config.k,
        "graph": graph / count,
    }

    def by_index(index: Index, method: Method) -> Answer:
        def answer(number: int) -> Found:
            code = SparseCode(asked.indices[number], asked.values[number], asked.width)
            return index.nearest(queries[number], top=TOP, method=method, code=code)

        return answer

    made = [Way(REFERENCE, lambda number: exact(vectors, queries[number]), 4 * dim, 0.0)]
    for index in (whole, plain):
        kind = index.head.settings.vectors
        made += [
            Way(
                f"{method}, {kind}",
                by_index(index, method),
                sizes[kind] + sizes[method],
                seconds[kind] + seconds[method],
            )
            for method in index.methods
        ]
    return made


def compared(ways: list[Way], queries: int, threads: int) -> list[dict[str, Any]]:
    """Ask every way every query, `IN_A_ROW` at a time, in turns; the first of `ways` is the reference."""
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    hits: dict[str, list[float]] = {way.name: [] for way in ways}
    with threadpool_limits(threads):
        for way in ways:
            way.answer(0)  # maps its files
        for begin in range(0, queries, IN_A_ROW):
            numbers = range(begin, min(queries, begin + IN_A_ROW))
            nearest = [ways[0].answer(number)[0] for number in numbers]
            for way in ways:
                for number, wanted in zip(numbers, nearest, strict=True):
                    begun = time.perf_counter()
                    rows, _ = way.answer(number)
                    taken[way.name].append(time.perf_counter() - begun)
                    hits[way.name].append(float(np.isin(wanted, rows).mean()))
    reference = taken[ways[0].name]
    return [
        {
            "name": way.name,
            "threads": threads,
            "bytes_per_vector": round(way.bytes_per_vector),
            "build_seconds": round(way.seconds, 3),
            "query_ms": round(1000 * statistics.median(taken[way.name]), 3),
            "recall": round(statistics.fmean(hits[way.name]), 4),
            "times_faster": round(
                statistics.median(a / b for a, b in zip(reference, taken[way.name], strict=True)), 1
            ),
        }
        for way in ways
    ]


def _seconds(make: Callable[[], object]) -> float:
    begun = time.perf_counter()
    make()
    return time.perf_counter() - begun


def main() -> None:
    """Measure, print, and store if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.3, 0.5])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--run", type=Path, default=cache_folder() / "bench" / "seed0" / "sparse")
    parser.add_argument("--store", action="store_true", help="keep the rows for the tables")
    arguments = parser.parse_args()
    find_student(arguments.run)
    model, manifest = bench.load(arguments.run), default_corpus()
    assert model.sparse is not None
    spoken = bench.test_words(manifest)
    some = spoken[:: max(1, len(spoken) // arguments.queries)][: arguments.queries]
    known, asked = (
        bench.embeddings(model, [word.samples for word in found])
        for found in (words(manifest, "train", seed=0, most_per_word=1000), some)
    )
    rows: list[dict[str, Any]] = []
    for noise in arguments.noise:
        vectors = noisy(known, arguments.vectors, noise, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            made = ways(Path(folder), model.sparse, model.outputs.dims, vectors, asked)
            for threads in arguments.threads:
                for row in compared(made, len(asked), threads):
                    rows.append({"noise": noise, **row})
                    print(rows[-1], flush=True)
    settings = {"vectors": arguments.vectors, "queries": len(asked), "top": TOP, "words": len(known)}
    if arguments.store:
        print(store_rows(NAME, COMMAND, rows, **settings))


if __name__ == "__main__":
    main()
