"""Clipping: sound louder than what recorded it could hold, which no level set later can mend."""

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32_767 / 32_768
"""The largest value of 16 bits, as a fraction of 1."""
RUN = 3
"""Samples in a row at full scale that are no chance: a wave that just reaches it does so for one or two."""


class ClippingGuard:
    """Counts clipped samples of sound that comes in chunks; the count does not depend on how it was cut."""

    def __init__(self, channels: int) -> None:
        self.clipped = 0
        """Samples beyond full scale, and samples at full scale of which `RUN` or more stand in a row."""
        self._before = np.zeros((RUN, channels), np.bool_)

    def hear(self, samples: NDArray[np.float32]) -> int:
        """Count in samples, (time, channels), and give how many of them clip."""
        size = np.abs(samples)
        beyond = size > 1
        at_limit = np.concatenate([self._before, (size >= FULL_SCALE) & ~beyond])
        self._before = at_limit[len(at_limit) - RUN :]
        time = len(samples)
        run = np.logical_and.reduce([at_limit[1 + k : 1 + k + time] for k in range(RUN)])
        # The sample that makes a run one brings those before it along; each further sample counts alone.
        begun = run & ~at_limit[:time]
        found = int(beyond.sum()) + int(run.sum()) + (RUN - 1) * int(begun.sum())
        self.clipped += found
        return found
