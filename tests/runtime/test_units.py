"""Units, against itertools."""

import doctest
import itertools

import numpy as np
import pytest

import earkit.runtime.units
from earkit.runtime.units import units


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_units_are_the_groups(count: int) -> None:
    tokens = np.random.default_rng(count).integers(0, 3, count)
    groups = [(token, len(list(group))) for token, group in itertools.groupby(tokens)]
    given, frames = units(tokens)
    assert list(zip(given, frames, strict=True)) == groups


def test_the_example() -> None:
    assert doctest.testmod(earkit.runtime.units, extraglobs={"np": np}).failed == 0
