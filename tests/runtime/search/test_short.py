"""Short vectors order rows as the cut embeddings do."""

import numpy as np

from earkit.runtime.search.short import short_dim, short_scores, shortened


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_scores_are_cosines_of_the_fronts() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((9000, 128)))  # blocks and a rest
    query = vectors[3]
    short = shortened(vectors, 32)
    assert short.dtype == np.int8
    cosines = unit(vectors[:, :32]) @ query[:32] / np.linalg.norm(query[:32])
    np.testing.assert_allclose(
        short_scores(short, query) / (127 * np.linalg.norm(query[:32])), cosines, atol=0.02
    )


def test_the_shortest_width_that_is_wide_enough_is_taken() -> None:
    assert short_dim((16, 32, 64, 256), 256) == 32
    assert short_dim((48, 256), 256) == 48
    assert short_dim((8, 16), 16) == 0
    assert short_dim((), 256) == 0
    assert short_dim((64,), 64) == 0
