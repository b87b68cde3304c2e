"""Arrays of all files give back the rows of each."""

import itertools

import numpy as np
import pytest

from earkit.runtime.search.postings import codes
from earkit.runtime.search.rows import Rows, arrays_of, joined, rows_of
from earkit.runtime.search.store import Model
from earkit.runtime.search.vectors import rounded


@pytest.mark.parametrize("with_codes", [False, True])
@pytest.mark.parametrize("short", [0, 32])
def test_rows_survive(vectors, make_code, with_codes, short) -> None:
    bounds = [0, 1, 4, 1000, 2999, 3000]
    files = [
        Rows(
            np.array([(7 * i, 7 * i + 5) for i in range(first, last)]),
            rounded(vectors[first:last], "int8"),
            codes(make_code(vectors[first:last])) if with_codes else None,
        )
        for first, last in itertools.pairwise(bounds)
    ]
    model = Model("m", "p", "s", "float32", 0, 64, short, *((64, 8) if with_codes else (0, 0)))
    arrays = arrays_of(files, model)
    assert ("short" in arrays) == bool(short)
    assert ("code_rows" in arrays) == with_codes
    np.testing.assert_array_equal(arrays["spans"][:, 0], np.repeat(range(5), np.diff(bounds)))
    back = rows_of(arrays, len(files), model)
    for own, found in zip(files, back, strict=True):
        np.testing.assert_array_equal(found.places, own.places)
        np.testing.assert_array_equal(found.vectors, own.vectors)
        assert (found.codes is not None) == with_codes
    again = arrays_of(back, model)
    assert {name: array.tobytes() for name, array in again.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_joined_rows_stand_one_behind_the_other() -> None:
    parts = [Rows(np.full((n, 2), n), np.full((n, 3), n, np.int8), None) for n in (2, 1)]
    whole = joined(parts)
    assert whole.places.tolist() == [[2, 2], [2, 2], [1, 1]]
    assert whole.vectors.tolist() == [[2, 2, 2], [2, 2, 2], [1, 1, 1]]
    assert whole.codes is None
