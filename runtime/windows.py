"""Windows over sound of any length: a stretch to keep, and what is heard before and after it.

Frames of a window are those of the whole sound where the window holds everything that decides them, so a
long sound needs the memory of one window.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from earkit.runtime.audio import Samples


@dataclass(frozen=True)
class Window:
    """Samples of which [skip, skip + keep) are this window's own; the others are its surroundings."""

    samples: Samples
    skip: int
    keep: int


def windows(blocks: Iterable[Samples], size: int, before: int = 0, after: int = 0) -> Iterator[Window]:
    """Cut consecutive blocks of a sound, of any length each, into windows that keep `size` samples.

    The last one keeps what is left. Surroundings are `before` and `after` samples, fewer only where the sound
    begins and ends.
    """
    held, skip = np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        while len(held) - skip >= size + after:
            yield Window(held[: skip + size + after], skip, size)
            held, skip = _advance(held, skip + size, before)
    while len(held) > skip:
        keep = min(size, len(held) - skip)
        yield Window(held[: skip + keep + after], skip, keep)
        held, skip = _advance(held, skip + keep, before)


def _advance(held: Samples, place: int, before: int) -> tuple[Samples, int]:
    """Let go of what lies more than `before` samples before `place`."""
    drop = max(0, place - before)
    return held[drop:].copy(), place - drop
