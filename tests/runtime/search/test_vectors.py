"""Full vectors: rounded as said, and compared exactly."""

import numpy as np
import pytest

from earkit.runtime.search.vectors import Precision, as_floats, cosines, rounded


def test_halves_become_the_floats_that_numpy_makes_of_them() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 8)
    made = as_floats(finite)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, finite.astype(np.float32))


def test_int8_uses_its_whole_range_in_every_row() -> None:
    vectors = np.array([[0.5, -0.25, 0.0], [-0.01, 0.002, 0.01], [0.0, 0.0, 0.0]], np.float32)
    np.testing.assert_array_equal(rounded(vectors, "int8"), [[127, -64, 0], [-127, 25, 127], [0, 0, 0]])


@pytest.mark.parametrize(("precision", "error"), [("float16", 5e-4), ("int8", 1e-2)])
def test_cosines_are_those_of_the_vectors(precision: Precision, error: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((1300, 48)).astype(np.float32)  # blocks and a rest
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[7]
    stored = rounded(vectors, precision)
    made = cosines(stored, query)
    whole = stored.astype(np.float64)
    exact = whole @ query / np.linalg.norm(whole, axis=1)
    np.testing.assert_allclose(made, exact, atol=1e-6)
    np.testing.assert_allclose(made, vectors @ query, atol=error)
    assert made[7] == pytest.approx(1, abs=error)
