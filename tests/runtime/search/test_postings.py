"""The inverted file gives the dot products of the dense codes, and can be undone."""

import numpy as np

from earkit.runtime.outputs import SparseCode
from earkit.runtime.search.postings import QUERY_LATENTS, by_row, codes, inverted, sparse_scores

WIDTH, K, COUNT = 60, 8, 200


def some(count: int, k: int, seed: int = 0) -> SparseCode:
    rng = np.random.default_rng(seed)
    indices = np.stack([rng.permutation(WIDTH)[:k] for _ in range(count)])
    return SparseCode(indices, -np.sort(-rng.random((count, k)).astype(np.float32)), WIDTH)


def test_scores_are_dot_products_with_codes_of_length_one() -> None:
    given, query = some(COUNT, K), some(1, K, seed=1)
    dense = given.dense() / np.linalg.norm(given.values, axis=1, keepdims=True)
    scores = sparse_scores(
        inverted(codes(given), WIDTH), COUNT, SparseCode(query.indices[0], query.values[0], WIDTH)
    )
    np.testing.assert_allclose(scores / 255, dense @ query.dense()[0], atol=K * 0.5 / 255)
    assert scores.shape == (COUNT,)


def test_only_the_strongest_latents_of_a_query_count() -> None:
    given, query = some(COUNT, K), some(1, QUERY_LATENTS + 10, seed=1)
    postings = inverted(codes(given), WIDTH)
    whole = SparseCode(query.indices[0], query.values[0], WIDTH)
    front = SparseCode(query.indices[0, :QUERY_LATENTS], query.values[0, :QUERY_LATENTS], WIDTH)
    np.testing.assert_array_equal(
        sparse_scores(postings, COUNT, whole), sparse_scores(postings, COUNT, front)
    )


def test_a_query_that_meets_nothing_scores_nothing() -> None:
    given = SparseCode(np.array([[1, 2]]), np.ones((1, 2), np.float32), WIDTH)
    query = SparseCode(np.array([3, 59]), np.ones(2, np.float32), WIDTH)
    np.testing.assert_array_equal(sparse_scores(inverted(codes(given), WIDTH), 1, query), [0.0])


def test_by_row_gives_every_row_its_latents_back() -> None:
    given = codes(some(COUNT, K))
    back = by_row(inverted(given, WIDTH), K)
    order = np.argsort(given.latents, axis=1)
    np.testing.assert_array_equal(back.latents, np.take_along_axis(given.latents, order, 1))
    np.testing.assert_array_equal(back.weights, np.take_along_axis(given.weights, order, 1))
