"""Vectors of many sizes, against plain sums of what each should be."""

import numpy as np
import pytest

from earkit.benchmarks.adaptive_embeddings import Heard, Way, times, ways
from earkit.runtime.model_file import Sparse
from earkit.runtime.outputs import SparseCode

RNG = np.random.default_rng(0)
WIDTH = 128


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def heard(count: int = 40) -> Heard:
    whole = unit(RNG.standard_normal((count, 64)).astype(np.float32))
    indices = np.stack([RNG.permutation(WIDTH)[:16] for _ in range(count)])
    values = -np.sort(-RNG.random((count, 16), np.float32), axis=1)
    return Heard(whole, SparseCode(indices, values, WIDTH))


@pytest.mark.parametrize("size", [16, 64])
def test_prefixes(size: int) -> None:
    clips = heard()
    cut = unit(clips.whole[:, :size])
    np.testing.assert_allclose(Way("prefix", "float32", size).vectors(clips), cut, rtol=1e-6)
    whole = unit(Way("prefix", "int8", size).vectors(clips))
    np.testing.assert_allclose(whole, cut, atol=0.01)
    assert set(np.unique(Way("prefix", "binary", size).vectors(clips))) == {-1, 1}


def test_codes_are_cut_to_their_strongest_latents() -> None:
    clips = heard()
    made = Way("CSR code", "sparse", 8).vectors(clips)
    assert (np.count_nonzero(made, axis=1) == 8).all()
    assert clips.coded is not None
    assert np.array_equal(made.argmax(axis=1), clips.coded.indices[:, 0])


@pytest.mark.parametrize(
    ("storage", "size"),
    [("float32", 32), ("float32", 64), ("int8", 32), ("binary", 64), ("sparse", 8), ("sparse", 16)],
)
def test_what_is_timed_orders_as_what_is_judged(storage, size: int) -> None:
    known, asked = heard(), heard(5)
    way = Way("any", storage, size)
    search = way.search(known, asked)
    mine, theirs = unit(way.vectors(known)), unit(way.vectors(asked))
    for number in range(5):
        found = np.corrcoef(search(number), mine @ theirs[number])[0, 1]
        assert found > (0.999 if storage != "binary" else 0.99999)


def test_all_that_a_file_has_is_compared() -> None:
    prefixes = [(storage, dim) for storage in ("float32", "int8", "binary") for dim in (64, 32)]
    assert [(way.storage, way.size) for way in ways((32, 64), None)] == prefixes
    coded = ways((32, 64), Sparse(width=256, k=16, k_min=8, k_max=32))
    assert [way.size for way in coded if way.storage == "sparse"] == [32, 16, 8]


def test_every_way_answers_every_query() -> None:
    known = heard(6).repeated(400)
    assert len(known.whole) == 400
    assert np.array_equal(known.whole[6], known.whole[0])
    asked = heard(13)
    taken = times([Way("prefix", "float32", 64), Way("CSR code", "sparse", 8)], known, asked)
    assert [len(each) for each in taken] == [13, 13]
    assert min(min(each) for each in taken) > 0
