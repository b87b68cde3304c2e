"""The search for a share that is fast enough."""

import pytest

from earkit.compress.prune_speed import largest_share


def test_the_largest_share_that_is_fast_enough_is_found() -> None:
    tried = []

    def faster(share: float) -> float:
        tried.append(share)
        return 1 / (0.2 + 0.8 * share)  # a fifth of the time is fixed

    found = largest_share(faster, 1.5, 0.1)
    exact = (1 / 1.5 - 0.2) / 0.8
    assert exact - 0.9 / 2**5 <= found <= exact
    assert len(tried) == 5


def test_what_is_never_fast_enough_gives_the_least() -> None:
    assert largest_share(lambda _: 1.1, 2.0, 0.25) == pytest.approx(0.25)
