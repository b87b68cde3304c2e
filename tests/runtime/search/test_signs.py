"""Binary signatures: agreements are counted as a loop over dims counts them, of vectors that were turned."""

import numpy as np
import pytest

from earkit.runtime.search.signs import agreements, rotation, signs

DIMS = pytest.mark.parametrize("dim", [1, 5, 64, 70, 256])


@DIMS
def test_disagreeing_signs_are_counted(dim: int) -> None:
    rng = np.random.default_rng(dim)
    vectors = rng.standard_normal((300, dim)).astype(np.float32)
    query = rng.standard_normal(dim).astype(np.float32)
    words = signs(vectors)
    assert words.shape == (-(-dim // 64), 300)
    differ = (vectors @ rotation(dim) >= 0) != (query @ rotation(dim) >= 0)
    np.testing.assert_array_equal(agreements(words, query), -differ.sum(1))
    np.testing.assert_array_equal(agreements(words[:1], query), -differ[:, :64].sum(1))


def test_opposite_vectors_disagree_everywhere() -> None:
    vectors = np.random.default_rng(0).standard_normal((1, 1000)).astype(np.float32)
    assert agreements(signs(vectors), -vectors[0]).tolist() == [-1000]


@DIMS
def test_a_rotation_changes_no_distance(dim: int) -> None:
    np.testing.assert_allclose(rotation(dim) @ rotation(dim).T, np.eye(dim), atol=1e-5)


def test_signs_find_what_lies_near_along_few_axes() -> None:
    """Of embeddings whose first 32 of 256 dims hold nearly all, the nearest are among the first by signs."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(256) < 32, 1.0, 0.03).astype(np.float32)
    vectors, queries = (rng.standard_normal((n, 256), np.float32) * spread for n in (20_000, 20))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words, found = signs(vectors), []
    for query in queries:
        nearest = np.argpartition(-(vectors @ query), 10)[:10]
        found.append(np.isin(nearest, np.argsort(-agreements(words, query), kind="stable")[:1000]).mean())
    assert np.mean(found) > 0.95
    plain = [
        np.isin(
            np.argpartition(-(vectors @ query), 10)[:10],
            np.argsort(((vectors >= 0) != (query >= 0)).sum(1), kind="stable")[:1000],
        ).mean()
        for query in queries
    ]
    assert np.mean(plain) < 0.8
