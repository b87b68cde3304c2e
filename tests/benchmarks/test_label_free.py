"""Closed forms: matrices of known rank, points whose distances are known."""

import numpy as np
import pytest

from earkit.benchmarks.label_free import alignment, effective_rank, uniformity


def orthonormal(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, columns)))[0]


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_singular_values_is_the_rank(rank: int) -> None:
    features = 7.0 * orthonormal(50, 8, 0)[:, :rank] @ orthonormal(8, 8, 1)[:rank]
    assert effective_rank(features) == pytest.approx(rank)


def test_effective_rank_of_known_singular_values() -> None:
    """Shares 1/2, 1/4, 1/4: the entropy is 1.5 bits."""
    features = orthonormal(50, 3, 0) @ np.diag([6.0, 3.0, 3.0]) @ orthonormal(3, 3, 1)
    assert effective_rank(features) == pytest.approx(2**1.5)


def test_alignment_is_two_minus_two_cosines() -> None:
    vectors = np.array([[2.0, 0], [1, 0], [3, 0]])
    views = np.array([[5.0, 0], [0, 9], [-1, 0]])  # the same, at right angles, opposite; lengths do not count
    assert alignment(vectors, views) == pytest.approx([0, 2, 4])


def test_uniformity_of_known_distances() -> None:
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)
    # Axes and their opposites, d of them: each pair is at d^2 of 2, or of 4 for the one opposite.
    d = 5
    axes = np.concatenate([np.eye(d), -np.eye(d)])
    near, far = np.exp(-4), np.exp(-8)
    expected = np.log((near * (2 * d - 2) + far) / (2 * d - 1))
    assert uniformity(3 * axes) == pytest.approx(expected)


def test_uniformity_of_many_points_on_a_sphere() -> None:
    """On the sphere in three dimensions the cosine is uniform: the mean of exp(-4 + 4c) is known."""
    points = np.random.default_rng(0).standard_normal((1500, 3))
    assert uniformity(points) == pytest.approx(np.log((1 - np.exp(-8)) / 8), abs=0.02)
