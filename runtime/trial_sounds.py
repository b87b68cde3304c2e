"""Made sounds of many lengths, and which of them stand together: what every new model file is tried on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.audio import SAMPLE_RATE

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
BATCHES = ((1, 3, 0), tuple(range(8)))
"""Which of them stand together, beside each one alone."""


def sounds(seconds: Sequence[float] = SECONDS, seed: int = 0) -> list[NDArray[np.float32]]:
    """Make clips in which noise, tones, loud, quiet and silence take turns; no length is a whole hop."""
    rng = np.random.default_rng(seed)
    clips = []
    for i, duration in enumerate(seconds):
        n = int(duration * SAMPLE_RATE) + 37 * i
        t = np.arange(n) / SAMPLE_RATE
        tone = np.sin(2 * np.pi * (200 + 300 * rng.random()) * t) + rng.standard_normal(n) / 3
        loudness = 10.0 ** -rng.uniform(0.5, 4, size=1 + n // 2000).repeat(2000)[:n]
        clips.append((loudness * tone).astype(np.float32))
    return clips
