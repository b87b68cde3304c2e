"""Windows, against slices of the whole."""

import itertools

import numpy as np
import pytest

from earkit.runtime.windows import windows


@pytest.mark.parametrize("block", [1, 7, 10, 64, 1000])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (0, 4), (25, 31)])
@pytest.mark.parametrize("length", [1, 9, 10, 11, 20, 47])
def test_windows_are_slices_with_their_surroundings(block: int, before: int, after: int, length: int) -> None:
    x = np.arange(length, dtype=np.float32)
    blocks = (x[i : i + block] for i in range(0, length, block))
    given = list(windows(blocks, 10, before, after))
    assert len(given) == -(-length // 10)
    for i, window in enumerate(given):
        begin, end = 10 * i, min(10 * i + 10, length)
        np.testing.assert_array_equal(window.samples, x[max(0, begin - before) : end + after])
        assert (window.skip, window.keep) == (begin - max(0, begin - before), end - begin)


def test_nothing_has_no_window() -> None:
    assert list(windows([], 10)) == []


def test_no_more_is_read_than_the_window_needs() -> None:
    taken = itertools.count()
    blocks = (np.zeros(5, np.float32) for _ in taken)
    next(windows(blocks, 10, 3, 4))
    assert next(taken) == 3  # 15 samples for 10 and the 4 after them
