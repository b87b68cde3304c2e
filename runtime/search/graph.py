"""A graph of near neighbours over short vectors (HNSW, by usearch): a shortlist without a pass over all rows.

Its time hardly grows with the rows, as that of a pass does; with 100,000 they are equal. Building it takes
far longer than everything else in an index but the embeddings.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from earkit.runtime import checksum
from earkit.runtime.atomic import replacing
from earkit.runtime.outputs import Floats
from earkit.runtime.search.short import shortened


def write(file: Path, short: NDArray[np.int8]) -> str:
    """Build the graph and write it; gives the file's sha256. Short vectors: (n, dim)."""
    index = Index(ndim=short.shape[1], metric="cos", dtype="i8")
    index.add(np.arange(len(short), dtype=np.uint64), short, threads=1)  # the same bytes every time
    with replacing(file) as temporary:
        index.save(str(temporary))
        return checksum.sha256(temporary)


class Graph:
    """A graph that was written. A damaged one would crash the process, so it is compared with its sha256."""

    def __init__(self, file: Path, sha256: str) -> None:
        if checksum.sha256(file) != sha256:
            raise ValueError("it is not the file that was written")
        self._index: Any = Index.restore(str(file), view=True)

    def nearest(self, query: Floats, count: int) -> NDArray[np.intp]:
        """Give rows that are probably nearest by their short vectors, nearest first."""
        self._index.expansion_search = count
        front = shortened(query[None], self._index.ndim)[0]
        return np.asarray(self._index.search(front, count).keys).astype(np.intp)
