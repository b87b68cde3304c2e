"""The graph finds near neighbours, is the same every time, and is never opened damaged."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earkit.runtime.errors import CheckpointError
from earkit.runtime.search import store
from earkit.runtime.search.index import Index
from earkit.runtime.search.short import shortened

SCRIPT = """
import sys
sys.modules["usearch"] = None  # as if it were not installed
import numpy as np
from pathlib import Path
from earkit.runtime.search import build
from earkit.runtime.search.index import Index
index = Index(sys.argv[1])
print(len(index.nearest(np.eye(64, dtype=np.float32)[0], method="funnel")[0]))
try:
    index.nearest(np.eye(64, dtype=np.float32)[0], method="graph")
except ModuleNotFoundError as error:
    print(error.name)
"""


def test_without_usearch_all_else_works(make_index: Callable[..., Path]) -> None:
    pytest.importorskip("usearch")  # to make the graph
    command = [sys.executable, "-c", SCRIPT, str(make_index(graph=True))]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["10", "usearch.index"]


def test_it_finds_nearly_all_that_a_pass_finds(tmp_path: Path, vectors: np.ndarray) -> None:
    pytest.importorskip("usearch")
    from earkit.runtime.search.graph import Graph, write

    short = shortened(vectors, 32)
    sha256 = write(tmp_path / "graph.usearch", short)
    graph = Graph(tmp_path / "graph.usearch", sha256)
    found = []
    for query in vectors[::100]:
        front = query[:32] / np.linalg.norm(query[:32])
        expected = np.argsort(-(short.astype(np.float32) @ front))[:50]
        rows = graph.nearest(query, 50)
        assert len(set(rows.tolist())) == 50
        found.append(np.isin(rows, expected).mean())
    assert np.mean(found) > 0.9


def test_it_is_the_same_every_time(tmp_path: Path, vectors: np.ndarray) -> None:
    pytest.importorskip("usearch")
    from earkit.runtime.search.graph import write

    short = shortened(vectors[:500], 32)
    assert write(tmp_path / "a", short) == write(tmp_path / "b", short)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_graph_is_refused(
    make_index: Callable[..., Path], vectors: np.ndarray, damage: str
) -> None:
    pytest.importorskip("usearch")
    folder = make_index(graph=True)
    file = folder / store.read_head(folder).data / "graph.usearch"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    if damage == "remove":
        file.unlink()
    with pytest.raises(CheckpointError, match=r"is damaged \(graph\.usearch"):
        Index(folder).nearest(vectors[0], method="graph")
