"""Purities and PNMI against a table that is worked by hand, and against scikit-learn."""

from math import log

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from earkit.benchmarks.unit_quality import cluster_purity, joint_counts, perplexity, phone_purity, pnmi

# Ten frames: phone a has 4 of unit 0 and 1 of unit 1; b has 1, 2 and 2 of units 0, 1 and 2.
PHONES = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
UNITS = np.array([0, 0, 0, 0, 1, 0, 1, 1, 2, 2])
TABLE = np.array([[4, 1, 0], [1, 2, 2]])


def test_counts() -> None:
    assert joint_counts(PHONES, UNITS, (2, 3)).tolist() == TABLE.tolist()


def test_worked_by_hand() -> None:
    assert phone_purity(TABLE) == pytest.approx((4 + 2 + 2) / 10)  # units 0, 1, 2 -> a, b, b
    assert cluster_purity(TABLE) == pytest.approx((4 + 2) / 10)  # a -> unit 0, b -> unit 1
    # Both phones have probability 1/2: H(y) = log 2. Units have 5, 3 and 2 of 10 frames.
    information = (
        0.4 * log(0.4 / (0.5 * 0.5))
        + 0.1 * log(0.1 / (0.5 * 0.3))
        + 0.1 * log(0.1 / (0.5 * 0.5))
        + 0.2 * log(0.2 / (0.5 * 0.3))
        + 0.2 * log(0.2 / (0.5 * 0.2))
    )
    assert pnmi(TABLE) == pytest.approx(information / log(2))
    assert perplexity(TABLE) == pytest.approx(0.5**-0.5 * 0.3**-0.3 * 0.2**-0.2)


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    phones, units = rng.integers(0, 7, 500), rng.integers(0, 12, 500)
    units[phones < 3] = phones[phones < 3]
    share = np.bincount(phones) / 500
    expected = mutual_info_score(phones, units) / -(share * np.log(share)).sum()
    assert pnmi(joint_counts(phones, units, (7, 12))) == pytest.approx(expected)


def test_the_ends_of_the_scale() -> None:
    assert pnmi(np.diag([3, 5, 2])) == pytest.approx(1)
    assert pnmi(np.outer([3, 5], [2, 4])) == pytest.approx(0, abs=1e-12)
    assert pnmi(np.array([[4, 3]])) == 0  # one phone: there is nothing to know
    assert perplexity(np.ones((2, 6), np.int64)) == pytest.approx(6)
    assert perplexity(np.array([[5, 0, 0]])) == pytest.approx(1)
