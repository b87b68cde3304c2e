"""Binary signatures: agreements are counted as a loop over dims counts them."""

import numpy as np
import pytest

from earkit.runtime.search.signs import agreements, signs


@pytest.mark.parametrize("dim", [5, 64, 70, 256])
def test_disagreeing_signs_are_counted(dim: int) -> None:
    rng = np.random.default_rng(dim)
    vectors = rng.standard_normal((300, dim)).astype(np.float32)
    vectors[0, 0] = 0.0
    query = rng.standard_normal(dim).astype(np.float32)
    words = signs(vectors)
    assert words.shape == (-(-dim // 64), 300)
    np.testing.assert_array_equal(agreements(words, query), -((vectors >= 0) != (query >= 0)).sum(1))


def test_opposite_vectors_disagree_everywhere() -> None:
    vectors = np.full((1, 1000), 0.1, np.float32)
    assert agreements(signs(vectors), -vectors[0]).tolist() == [-1000]
