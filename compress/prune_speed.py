"""The share of the multiply-adds at which a student is so many times as fast: measured, not counted."""

from collections.abc import Callable


def largest_share(faster: Callable[[float], float], wanted: float, least: float, halvings: int = 5) -> float:
    """Find the largest share that is `wanted` times as fast, by halving the range down to `least`.

    faster: how many times as fast a student of some share is. `least` is given back where no other share that
    was tried is fast enough.
    """
    low, high = least, 1.0
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if faster(middle) >= wanted else (low, middle)
    return low
