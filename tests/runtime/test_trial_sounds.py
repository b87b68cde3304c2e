"""What every model file is tried on: many lengths, no whole hops, mixed padding."""

import numpy as np

from earkit.runtime.trial_sounds import BATCHES, SECONDS, sounds


def test_it_covers_lengths_and_batches() -> None:
    assert len(SECONDS) >= 8
    assert (min(SECONDS), max(SECONDS)) == (0.1, 60.0)
    assert len({1, *map(len, BATCHES)}) >= 3
    clips = sounds()
    assert all(len(clip) % 640 for clip in clips)
    assert all(len({len(clips[i]) for i in batch}) > 1 for batch in BATCHES)


def test_they_are_the_same_each_time_and_within_full_scale() -> None:
    for one, other in zip(sounds((0.3, 1.0)), sounds((0.3, 1.0)), strict=True):
        assert one.tobytes() == other.tobytes()
        assert 0.001 < np.abs(one).max() < 1
