"""Clipped samples against a count that goes through one channel at a time, one run at a time."""

from itertools import groupby

import numpy as np
import pytest

from earkit.runtime.clipping import ClippingGuard

TOP = 32_767 / 32_768


def counted(samples: np.ndarray) -> int:
    """Beyond [-1, 1]; or from 32 767 of 32 768 to 1, three or more in a row."""
    found = 0
    for channel in samples.T:
        for kind, run in groupby(
            "beyond" if abs(x) > 1 else "limit" if abs(x) >= TOP else "" for x in channel.tolist()
        ):
            length = len(list(run))
            found += length if kind == "beyond" or (kind == "limit" and length >= 3) else 0
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("channels", [1, 2])
def test_it_counts_however_the_sound_is_cut(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.choice(
        np.array([0.5, TOP, -1.0, 1.0, 1.5], np.float32), (200, channels), p=[0.3, 0.3, 0.2, 0.15, 0.05]
    )
    cuts = np.sort(rng.integers(0, 200, 60))
    guard, found = ClippingGuard(channels), 0
    for chunk in np.split(samples, cuts):  # some are empty, many shorter than a run
        found += guard.hear(chunk)
    assert guard.clipped == found == counted(samples) > 0


def test_a_wave_that_just_reaches_full_scale_does_not_clip() -> None:
    wave = np.tile(np.array([0.2, TOP, TOP, 0.2, -1.0, -1.0], np.float32), 50)[:, None]
    assert ClippingGuard(1).hear(wave) == 0
