"""Batches, against what they promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earkit.runtime.batching import batches


@given(st.lists(st.integers(1, 40), max_size=50), st.integers(1, 60), st.integers(0, 30))
def test_every_clip_is_in_one_batch_that_fits(lengths: list[int], samples: int, call: int) -> None:
    made = list(batches(dict(enumerate(lengths)), samples, call))
    assert sorted(clip for batch in made for clip in batch) == list(range(len(lengths)))
    for batch in made:
        longest = max(lengths[clip] for clip in batch)
        assert len(batch) == 1 or len(batch) * longest <= samples
        # No clip costs more padding than a call of its own would.
        assert sum(longest - lengths[clip] for clip in batch) <= call * (len(batch) - 1)


@pytest.mark.parametrize(
    ("lengths", "made"),
    [
        ([3, 90, 2, 4, 3], [[2, 0, 4], [3], [1]]),  # three of 3 are 9, a fourth of 4 would make 16
        ([5, 5, 5], [[0, 1], [2]]),
        ([1, 2, 5], [[0, 1], [2]]),  # padded to 5, the first two would cost 6 more
        ([1, 3], [[0, 1]]),
        ([], []),
    ],
)
def test_similar_clips_fill_a_batch(lengths: list[int], made: list[list[int]]) -> None:
    assert list(batches(dict(enumerate(lengths)), 10, 2)) == made
