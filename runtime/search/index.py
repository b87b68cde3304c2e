"""An index, opened: which spans of which files are nearest to a sound."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.outputs import Floats, SparseCode
from earkit.runtime.search import store
from earkit.runtime.search.model import model_of, refuse_another
from earkit.runtime.search.postings import Postings, sparse_scores
from earkit.runtime.search.short import short_scores
from earkit.runtime.search.shortlist import at_least, best
from earkit.runtime.search.signs import agreements
from earkit.runtime.search.spans import BLOCK, cut
from earkit.runtime.search.vectors import cosines
from earkit.runtime.sounds import OpenSound, Sound

if TYPE_CHECKING:
    from earkit.runtime.search.graph import Graph

Method = Literal["auto", "exact", "funnel", "binary", "sparse", "graph"]

Found = tuple[NDArray[np.intp], Floats]
"""Rows and their cosines, falling."""

SHORTLIST = {"funnel": 32, "graph": 50, "binary": 100, "sparse": 100}
"""Rows that are compared at full width at least, for each one wanted."""
FIRST_SIGNS, FIRST_ROWS = 2, 6
"""The funnel begins with the signs of so many times 64 dims, and so many rows for each of its shortlist."""
EXACT_ROWS = 20_000
"""Up to so many rows, comparing with all takes a few milliseconds, less than embedding the query."""


@dataclass(frozen=True)
class Hit:
    """A span of a file, and its cosine to the query."""

    file: str
    start: float
    """Seconds."""
    end: float
    score: float


class Index:
    """The arrays are mapped, not read: a search touches what its method needs.

    >>> index = Index("sounds.index")
    >>> index.search("query.wav", Embedder.load("runs/owl"), top=3)[0].file
    'sounds/owl.wav'
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.head = store.read_head(self.folder)
        while True:
            try:
                self._arrays = store.read_arrays(self.folder, self.head)
                self.files = store.read_files(self.folder, self.head)
                break
            except CheckpointError:
                # An update may have replaced it in between.
                head = store.read_head(self.folder)
                if head == self.head:
                    raise
                self.head = head
        numbers = self._arrays["spans"][:, 0]
        if numbers.min() < 0 or numbers.max() >= len(self.files):
            raise store.damaged(self.folder, "its spans are of files that it does not list")
        self._checked: Embedder | None = None

    def __len__(self) -> int:
        """Count the spans."""
        return self.head.spans

    @property
    def methods(self) -> tuple[Method, ...]:
        """What `search` can do here, but for `auto`."""
        has = {
            "funnel": self.head.model.short > 0,
            "sparse": self.head.settings.codes,
            "graph": bool(self.head.graph_sha256),
        }
        return tuple(name for name in get_args(Method) if name != "auto" and has.get(name, True))

    def search(
        self,
        sound: Sound,
        embedder: Embedder,
        sample_rate: float | None = None,
        *,
        top: int = 10,
        method: Method = "auto",
    ) -> list[Hit]:
        """Give the spans nearest to a sound, nearest first. The embedder is the one the index was made with.

        A sound longer than the index's windows is cut as they are, and a span counts by the part of the query
        that it is nearest to. Of spans that overlap, the nearest stands for all.
        """
        self.check(embedder)
        cuts = cut(OpenSound(sound, sample_rate, BLOCK), self.head.settings.window, self.head.settings.hop)
        parts = [samples for _, samples in cuts]
        queries = embedder.embed(parts, SAMPLE_RATE)
        codes: list[SparseCode | None] = [None] * len(parts)
        if self.chosen(method) == "sparse":
            made = embedder.embed(parts, SAMPLE_RATE, output="sparse", k=self.head.model.k)
            codes = [SparseCode(*code, made.width) for code in zip(made.indices, made.values, strict=True)]
        count = top
        while True:
            found = [
                self.nearest(query, top=count, method=method, code=code)
                for query, code in zip(queries, codes, strict=True)
            ]
            hits = apart(self.hits(*nearest_of(found)), top)
            if len(hits) == top or count >= len(self):
                return hits
            count *= 4

    def check(self, embedder: Embedder) -> None:
        """Refuse another model than the one that made the vectors."""
        if embedder is not self._checked:
            refuse_another(self.folder, self.head.model, model_of(embedder))
            self._checked = embedder

    def chosen(self, method: Method) -> Method:
        """Say what `auto` is here, and refuse what is not possible."""
        methods = self.methods
        if method == "auto":
            if len(self) <= EXACT_ROWS:
                return "exact"
            if "graph" in methods and find_spec("usearch"):
                return "graph"
            return "funnel" if "funnel" in methods else "binary"
        if method not in methods:
            raise ConfigError(
                f"the index {self.folder} cannot be searched by {method!r}: take auto, {', '.join(methods)}"
            )
        return method

    def nearest(
        self, query: Floats, *, top: int = 10, method: Method = "auto", code: SparseCode | None = None
    ) -> Found:
        """Search with a query (dim,) of length one, and its code if sparse."""
        if top < 1:
            raise ConfigError(f"the nearest {top} cannot be given: ask for 1 or more")
        vectors = self._arrays["vectors"]
        method = self.chosen(method)
        if method == "exact":
            scores = cosines(vectors, query)
            rows = best(scores, top)
            return rows, scores[rows]
        rows = self._shortlist(method, query, code, SHORTLIST[method] * top)
        scores = cosines(vectors.take(rows, axis=0), query)  # faster than vectors[rows]
        order = best(scores, top)
        return rows[order], scores[order]

    def hits(self, rows: NDArray[np.intp], scores: Floats) -> list[Hit]:
        """Say where rows come from."""
        source, spans = Path(self.head.source), self._arrays["spans"][rows]
        return [
            Hit(str(source / self.files[file].name), start / SAMPLE_RATE, end / SAMPLE_RATE, score)
            for (file, start, end), score in zip(spans.tolist(), scores.tolist(), strict=True)
        ]

    def _shortlist(
        self, method: Method, query: Floats, code: SparseCode | None, count: int
    ) -> NDArray[np.intp]:
        """Give rows in the order in which they lie on disk."""
        match method:
            case "graph":
                return np.sort(self._graph.nearest(query, min(count, len(self))))
            case "binary":
                return at_least(agreements(self._arrays["signs"], query), count)
            case "sparse":
                if code is None:
                    raise ConfigError("a search by sparse codes needs the code of the query")
                return at_least(self._sparse_scores(code), count)
            case _:
                # Counting signs costs less than multiplying, and is enough to leave most out.
                signs = self._arrays["signs"][:FIRST_SIGNS]
                near = at_least(agreements(signs, query), FIRST_ROWS * count)
                short = self._arrays["short"].take(near, axis=0)
                return near[at_least(short_scores(short, query), count)]

    def _sparse_scores(self, code: SparseCode) -> NDArray[Any]:
        arrays = self._arrays
        postings = Postings(arrays["code_starts"], arrays["code_rows"], arrays["code_weights"])
        starts = postings.starts
        if starts[0] or starts[-1] != len(postings.rows) or (np.diff(starts) < 0).any():
            raise store.damaged(self.folder, "its sparse codes are not in order")
        scores = sparse_scores(postings, len(self), code)
        if len(scores) > len(self):
            raise store.damaged(self.folder, "its sparse codes are of spans that it does not have")
        return scores

    @cached_property
    def _graph(self) -> "Graph":
        from earkit.runtime.search.graph import Graph  # noqa: PLC0415 - usearch is an extra

        try:
            return Graph(self.folder / self.head.data / store.GRAPH, self.head.graph_sha256)
        except (OSError, ValueError) as error:
            raise store.damaged(self.folder, f"{store.GRAPH}: {error}") from error


def nearest_of(found: Sequence[Found]) -> Found:
    """Take each row once, with its greatest cosine; falling."""
    rows, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(-scores, kind="stable")
    first = np.sort(np.unique(rows[order], return_index=True)[1])
    return rows[order[first]], scores[order[first]]


def apart(hits: Iterable[Hit], top: int) -> list[Hit]:
    """Keep the first `top` that overlap none before them in the same file."""
    kept: list[Hit] = []
    for hit in hits:
        beside = (other for other in kept if other.file == hit.file)
        if not any(hit.start < other.end and other.start < hit.end for other in beside):
            kept.append(hit)
        if len(kept) == top:
            break
    return kept
