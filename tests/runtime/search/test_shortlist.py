"""The greatest scores are those that sorting gives."""

import numpy as np
import pytest

from earkit.runtime.search.shortlist import best


@pytest.mark.parametrize("length", [1, 127, 128, 1000, 20_001, 130_000])
@pytest.mark.parametrize("count", [1, 10, 150])
@pytest.mark.parametrize("equals", [False, True])
def test_the_best_are_the_first_of_a_stable_sort(length: int, count: int, equals: bool) -> None:
    rng = np.random.default_rng(length)
    scores = rng.integers(-9, 3, length).astype(np.int16) if equals else rng.standard_normal(length)
    np.testing.assert_array_equal(best(scores, count), np.argsort(-scores, kind="stable")[:count])


def test_the_best_may_all_stand_in_one_group_or_in_the_rest() -> None:
    scores = np.zeros(128 * 40 + 5, np.float32)
    scores[-5:] = [5, 9, 7, 8, 6]
    scores[40:45] = [15, 19, 17, 18, 16]
    np.testing.assert_array_equal(
        best(scores, 10), [41, 43, 42, 44, 40, *(len(scores) + np.array([-4, -2, -3, -1, -5]))]
    )
