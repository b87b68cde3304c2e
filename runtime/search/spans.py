"""Which spans of a sound get a vector each: windows of one length at even steps, and one that ends it."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from earkit.runtime.audio import SAMPLE_RATE, Samples
from earkit.runtime.errors import ConfigError
from earkit.runtime.sounds import OpenSound

BLOCK = 60 * SAMPLE_RATE
"""Samples that are read at a time."""


def samples_of(window: float, hop: float) -> tuple[int, int]:
    """Give a window and a step, in seconds, as samples."""
    if not (0 < hop <= window < math.inf):
        raise ConfigError(
            f"windows of {window:g} s every {hop:g} s cannot be: give a hop above 0 and no longer than the "
            "window, or some sound would be in none"
        )
    return max(1, round(window * SAMPLE_RATE)), max(1, round(hop * SAMPLE_RATE))


def cut(sound: OpenSound, window: int, hop: int) -> Iterator[tuple[int, Samples]]:
    """Give the spans of a sound that was opened with windows of `BLOCK`, without surroundings."""
    return spans((block.samples for block in sound.windows()), window, hop)


def spans(blocks: Iterable[Samples], window: int, hop: int) -> Iterator[tuple[int, Samples]]:
    """Give the first sample and the samples of each span, of a sound that comes in blocks of any length.

    Where the last step leaves a rest, one more span ends with the sound, so all but a sound shorter than a
    window are of the same length; that one is a span as it is.
    """
    held = np.zeros(0, np.float32)
    first = start = 0  # samples of the sound before those held; where the next span begins
    for block in blocks:
        held = np.concatenate([held, block])
        while first + len(held) >= start + window:
            yield start, held[start - first : start - first + window]
            start += hop
        # From the last span on, the one that ends the sound may need it.
        done = max(0, start - hop - first)
        held, first = held[done:].copy(), first + done
    end = first + len(held)
    if end > (start - hop + window if start else 0):
        begin = max(0, end - window)
        yield begin, held[begin - first :]
