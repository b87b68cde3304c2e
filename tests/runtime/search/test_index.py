"""Searching: exact is exact, shortlists find nearly all, and what comes out says where it stands."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.outputs import SparseCode
from earkit.runtime.search import index as index_module
from earkit.runtime.search import store
from earkit.runtime.search.index import Hit, Index, apart, nearest_of
from earkit.runtime.search.signs import rotation
from earkit.runtime.search.vectors import Precision

MakeIndex = Callable[..., Path]
MakeCode = Callable[[np.ndarray], SparseCode]


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(6)
    near = vectors[::97] + 0.05 * rng.standard_normal((31, vectors.shape[1]))
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_exact_is_sorting_by_cosine(
    make_index: MakeIndex, vectors: np.ndarray, queries: np.ndarray, precision: Precision
) -> None:
    index = Index(make_index(precision))
    error = 1e-3 if precision == "float16" else 2e-2
    for query in queries:
        rows, scores = index.nearest(query, top=20, method="exact")
        cosines = vectors @ query
        np.testing.assert_allclose(scores, cosines[rows], atol=error)
        assert (np.diff(scores) <= 0).all()
        left_out = np.setdiff1d(np.arange(len(vectors)), rows)
        assert cosines[left_out].max() <= cosines[rows].min() + error


@pytest.mark.parametrize("method", ["funnel", "binary", "sparse", "graph"])
def test_a_shortlist_finds_nearly_all_and_scores_them_exactly(
    make_index: MakeIndex,
    make_code: MakeCode,
    queries: np.ndarray,
    method: index_module.Method,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if method == "graph":
        pytest.importorskip("usearch")
    index = Index(make_index(graph=method == "graph"))
    monkeypatch.setitem(index_module.SHORTLIST, method, 20)  # 200 of 3000 rows
    found = []
    for query in queries:
        code = make_code(query[None])
        one = SparseCode(code.indices[0], code.values[0], code.width)
        exact = dict(zip(*index.nearest(query, method="exact"), strict=True))
        rows, scores = index.nearest(query, method=method, code=one)
        assert len(set(rows.tolist())) == 10
        found.append(np.mean([row in exact for row in rows]))
        for row, score in zip(rows, scores, strict=True):
            assert score == pytest.approx(exact.get(row, score), abs=1e-6)
    assert np.mean(found) > 0.95


def test_a_shortlist_is_made_by_its_own_score(
    make_index: MakeIndex, vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is by its method, and not by luck, that a shortlist holds what it holds."""
    index = Index(make_index())
    turn = rotation(vectors.shape[1])
    equal = (vectors @ turn >= 0) == (queries[:5, None] @ turn >= 0)
    agree, first = equal.sum(2), equal[..., : 64 * index_module.FIRST_SIGNS].sum(2)
    fronts = vectors[:, :32] / np.linalg.norm(vectors[:, :32], axis=1, keepdims=True) @ queries[:5, :32].T
    monkeypatch.setattr(index_module, "cosines", lambda rows, _query: np.zeros(len(rows), np.float32))
    for method in ("funnel", "binary"):
        monkeypatch.setitem(index_module.SHORTLIST, method, 1)
    for i, query in enumerate(queries[:5]):
        rows, _ = index.nearest(query, top=30, method="binary")
        assert agree[i, rows].min() >= np.sort(agree[i])[-200]
        rows, _ = index.nearest(query, top=30, method="funnel")
        assert first[i, rows].min() >= np.sort(first[i])[-500]
        left = np.argsort(-first[i], kind="stable")[: 30 * index_module.FIRST_ROWS]
        assert fronts[rows, i].min() >= np.sort(fronts[left, i])[-90]


def test_asking_for_more_than_there_is_gives_all(make_index: MakeIndex, queries: np.ndarray) -> None:
    index = Index(make_index())
    for method in ("exact", "funnel", "binary"):
        rows, _ = index.nearest(queries[0], top=9999, method=method)
        assert sorted(rows) == list(range(3000))


def test_auto_is_exact_until_that_takes_long(make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(make_index(with_codes=False))
    assert index.chosen("auto") == "exact"
    monkeypatch.setattr(index_module, "EXACT_ROWS", 2999)
    assert index.chosen("auto") == "funnel"
    assert index.methods == ("exact", "funnel", "binary")


def test_auto_without_short_vectors_is_binary(make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_ROWS", 0)
    folder = make_index()
    head = json.loads((folder / "index.json").read_text())
    head["model"]["short"] = 0
    (folder / "index.json").write_text(json.dumps(head))
    assert Index(folder).chosen("auto") == "binary"


def test_auto_takes_the_graph_where_it_can(make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(index_module, "EXACT_ROWS", 0)
    index = Index(make_index(graph=True))
    assert index.chosen("auto") == "graph"
    monkeypatch.setattr(index_module, "find_spec", lambda _name: None)
    assert index.chosen("auto") == "funnel"


@pytest.mark.parametrize("method", ["sparse", "graph"])
def test_what_an_index_lacks_is_refused(make_index: MakeIndex, method: index_module.Method) -> None:
    with pytest.raises(ConfigError, match=f"'{method}': take auto, exact, funnel, binary"):
        Index(make_index(with_codes=False)).nearest(np.zeros(64, np.float32), method=method)


def test_a_search_for_nothing_is_refused(make_index: MakeIndex) -> None:
    with pytest.raises(ConfigError, match="ask for 1 or more"):
        Index(make_index()).nearest(np.zeros(64, np.float32), top=0)


def test_hits_say_file_and_seconds(make_index: MakeIndex) -> None:
    index = Index(make_index())
    hits = index.hits(np.array([301, 2999]), np.array([0.5, 0.25], np.float32))
    folder = Path("sounds")
    assert hits == [Hit(str(folder / "1.wav"), 1.0, 3.0, 0.5), Hit(str(folder / "9.wav"), 299.0, 301.0, 0.25)]


def test_of_spans_that_overlap_the_first_stands_for_all() -> None:
    given = [
        Hit("a", 2.0, 4.0, 0.9),
        Hit("a", 3.0, 5.0, 0.8),
        Hit("b", 3.0, 5.0, 0.7),
        Hit("a", 1.0, 3.0, 0.6),
        Hit("a", 4.0, 6.0, 0.5),
        Hit("a", 0.0, 2.0, 0.4),
    ]
    assert [hit.score for hit in apart(given, 10)] == [0.9, 0.7, 0.5, 0.4]
    assert [hit.score for hit in apart(given, 2)] == [0.9, 0.7]


def test_several_queries_give_each_row_its_greatest_cosine() -> None:
    first = np.array([4, 2, 9]), np.array([0.9, 0.5, 0.4], np.float32)
    second = np.array([2, 4]), np.array([0.7, 0.1], np.float32)
    rows, scores = nearest_of([first, second])
    assert rows.tolist() == [4, 2, 9]
    np.testing.assert_array_equal(scores, np.array([0.9, 0.7, 0.4], np.float32))


def test_an_update_while_an_index_is_opened_gives_the_new_one(
    make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_index(with_codes=False)
    read = store.read_arrays

    def updated_meanwhile(*arguments):
        monkeypatch.setattr(store, "read_arrays", read)
        old = store.read_head(folder).data
        make_index("int8")
        assert not (folder / old).exists()
        return read(*arguments)

    monkeypatch.setattr(store, "read_arrays", updated_meanwhile)
    assert Index(folder).head.settings.vectors == "int8"


def test_an_open_index_outlives_an_update(make_index: MakeIndex, queries: np.ndarray) -> None:
    index = Index(make_index(with_codes=False))
    before = index.nearest(queries[0], method="exact")
    make_index("int8")
    for old, now in zip(before, index.nearest(queries[0], method="exact"), strict=True):
        np.testing.assert_array_equal(old, now)


def damage_spans(folder: Path) -> None:
    spans = np.load(folder / "spans.npy")
    spans[-1, 0] = 10
    np.save(folder / "spans.npy", spans)


def test_spans_of_unknown_files_are_damage(make_index: MakeIndex) -> None:
    folder = make_index()
    damage_spans(folder / store.read_head(folder).data)
    with pytest.raises(CheckpointError, match=r"spans are of files that it does not list.*--fresh"):
        Index(folder)


@pytest.mark.parametrize("damage", [("code_starts", 3, 10**9), ("code_rows", 5, 3000), ("code_starts", 0, 1)])
def test_sparse_codes_out_of_order_are_damage(
    make_index: MakeIndex, vectors: np.ndarray, damage: tuple[str, int, int]
) -> None:
    name, place, value = damage
    folder = make_index()
    file = folder / store.read_head(folder).data / f"{name}.npy"
    array = np.load(file)
    array[place] = value
    np.save(file, array)
    every = SparseCode(np.arange(16), np.ones(16, np.float32), 64)
    with pytest.raises(CheckpointError, match="sparse codes"):
        Index(folder).nearest(vectors[0], method="sparse", code=every)


@pytest.mark.parametrize("change", [{"parent_sha256": "cd" * 32}, {"precision": "int8"}, {"depth": 3}])
def test_another_model_is_refused(
    make_index: MakeIndex, make_model: Callable[..., Path], embedder: Embedder, tmp_path: Path, change
) -> None:
    other = make_model(tmp_path / "other.onnx", info=dataclasses.replace(embedder.info, **change))
    with pytest.raises(ConfigError, match=r"spectra abababab float32 .*cannot be compared.*--fresh"):
        Index(make_index()).check(Embedder.load(other, threads=1))


def test_another_export_of_the_same_weights_is_not(
    make_index: MakeIndex, make_model: Callable[..., Path], embedder: Embedder, tmp_path: Path
) -> None:
    other = make_model(tmp_path / "again.onnx", info=dataclasses.replace(embedder.info, machine="another"))
    Index(make_index()).check(Embedder.load(other, threads=1))
