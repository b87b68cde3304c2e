import numpy as np
import pytest
from sklearn.decomposition import PCA

from earkit.benchmarks.compact_vectors import (
    Candidate,
    bytes_per_vector,
    compared,
    pca,
    sparse,
    stored,
    truncated,
)
from earkit.benchmarks.retrieval import retrieval
from earkit.runtime.errors import ConfigError, DataError


def some(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def test_truncated_is_normalised_after_the_cut() -> None:
    cut = truncated(np.array([[3, 4, 12], [0, 0, 1]], np.float32), 2)
    np.testing.assert_allclose(cut, [[0.6, 0.8], [0, 0]], rtol=1e-6)  # a row of zeros stays one


def test_pca_equals_sklearns_up_to_signs() -> None:
    mixed = np.diag([5, 4, 3, 2, 1, 0.5]).astype(np.float32)
    train, test = some(200, 6) @ mixed + 3, some(20, 6, seed=1) @ mixed + 3
    found = pca(train, test, 3)
    reference = PCA(3).fit(train).transform(test)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found), np.abs(reference), atol=1e-4)
    np.testing.assert_allclose(found @ found.T, reference @ reference.T, atol=1e-4)


def test_sparse_rows_have_the_dot_products_of_their_dictionaries() -> None:
    rng = np.random.default_rng(0)
    indices = np.stack([rng.permutation(50)[:4] for _ in range(5)])
    values = some(5, 4)
    dense = sparse(indices, values, 50)
    for i in range(5):
        for j in range(5):
            a, b = (dict(zip(indices[row].tolist(), values[row].tolist(), strict=True)) for row in (i, j))
            expected = sum(value * b.get(index, 0) for index, value in a.items())
            assert dense[i] @ dense[j] == pytest.approx(expected, abs=1e-5)


def test_an_unused_place_takes_nothing_away() -> None:
    assert sparse(np.array([[2, 0, 2]]), np.array([[5, 1, 0]], np.float32), 4).tolist() == [[1, 0, 5, 0]]


def test_bytes() -> None:
    assert bytes_per_vector("float32", 64, 64) == 256
    assert bytes_per_vector("float16", 64, 64) == 128
    assert bytes_per_vector("int8", 64, 64) == 64
    assert bytes_per_vector("binary", 64, 64) == 8
    assert bytes_per_vector("binary", 65, 65) == 9
    assert bytes_per_vector("sparse", 32, 256) == 64
    assert bytes_per_vector("sparse", 32, 257) == 96


def test_stored_vectors_fit_their_bytes() -> None:
    vectors = some(30, 16)
    int8 = stored("int8", vectors)
    assert np.array_equal(int8, int8.astype(np.int8))
    assert (np.abs(int8).max(axis=1) == 127).all()
    peaks = np.abs(vectors).max(axis=1, keepdims=True)
    assert np.abs(int8 * peaks / 127 - vectors).max() <= peaks.max() / 127 / 2 * 1.001
    assert np.array_equal(stored("binary", vectors) > 0, vectors > 0)
    assert stored("binary", np.array([[0, -0.1, 2]], np.float32)).tolist() == [[1, -1, 1]]
    assert np.array_equal(stored("sparse", vectors), int8)
    assert np.array_equal(stored("float32", vectors), vectors)
    assert np.array_equal(stored("float16", vectors), np.float32(np.float16(vectors)))
    assert not stored("int8", np.zeros((1, 4), np.float32)).any()


def test_rows_of_a_table() -> None:
    labels, speakers = np.array(list("abcd" * 3)), np.array(list("xxxxyyyyzzzz"))
    vectors = np.eye(4, 8, dtype=np.float32)[[0, 1, 2, 3] * 3] + 0.3 * some(12, 8)
    noise = some(12, 20, seed=2)
    rows = compared(
        [
            Candidate("whole", "float16", 8, vectors),
            Candidate("signs", "binary", 8, vectors),
            Candidate("noise", "sparse", 20, noise),
        ],
        labels,
        speakers,
    )
    assert [(r["name"], r["storage"], r["size"], r["bytes"]) for r in rows] == [
        ("whole", "float16", 8, 16),
        ("signs", "binary", 8, 1),
        ("noise", "sparse", 20, 40),
    ]
    signs = retrieval(np.where(vectors > 0, 1, -1).astype(np.float32), labels, speakers)
    assert (rows[1]["first"], rows[1]["precision"]) == pytest.approx((signs.first, signs.precision))
    assert rows[0]["first"] > rows[2]["first"]


def test_a_candidate_cannot_claim_fewer_bytes_than_it_uses() -> None:
    codes = sparse(np.array([[0, 1, 2], [3, 4, 5]]), np.ones((2, 3), np.float32), 9)
    assert Candidate("csr", "sparse", 3, codes).size == 3
    with pytest.raises(DataError, match="the vectors of csr use 3 values and claim 2"):
        Candidate("csr", "sparse", 2, codes)
    with pytest.raises(DataError, match="the vectors of cut use 9 values and claim 4"):
        Candidate("cut", "float16", 4, codes)
    with pytest.raises(DataError, match="the vectors of cut use 9 values and claim 12"):
        Candidate("cut", "float16", 12, codes)


def test_sizes_that_cannot_be() -> None:
    for dim in (0, 7):
        with pytest.raises(ConfigError, match=f"{dim} of 6 dimensions cannot be kept: give 1 to 6"):
            truncated(some(3, 6), dim)
    with pytest.raises(ConfigError, match="3 of 2 directions"):
        pca(some(3, 6), some(3, 6), 3)
    with pytest.raises(ConfigError, match="sparse width of 65537"):
        sparse(np.zeros((1, 1), np.int64), some(1, 1), 65537)
    for wrong in (-1, 9):
        with pytest.raises(DataError, match="in a width of 9"):
            sparse(np.array([[0, wrong]]), some(1, 2), 9)
