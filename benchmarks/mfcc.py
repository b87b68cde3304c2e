"""Mel-frequency cepstral coefficients with their first and second differences: the classic floor."""

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.log_mel import log_mel

Array = NDArray[np.float32]

BANDS = 40
COEFFICIENTS = 13
REACH = 2  # frames on each side of a difference


def mfcc(samples: Array) -> Array:
    """Give 13 coefficients, then their differences, then those of these, every 20 ms. -> (frames, 39)."""
    bands = np.arange(BANDS) + 0.5
    cosines = np.cos(np.pi / BANDS * np.outer(np.arange(COEFFICIENTS), bands))  # DCT-II
    static = log_mel(samples, BANDS) @ cosines.T * np.sqrt(2 / BANDS)
    first = differences(static)
    made: Array = np.concatenate([static, first, differences(first)], axis=1).astype(np.float32)
    return made


def differences(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """Slope of the regression line over five frames, ends repeated. (time, dim) -> the same."""
    padded = np.pad(frames, ((REACH, REACH), (0, 0)), mode="edge")
    time = len(frames)
    steps = range(1, REACH + 1)
    rises = [k * (padded[REACH + k :][:time] - padded[REACH - k :][:time]) for k in steps]
    slopes: NDArray[np.floating] = np.sum(rises, axis=0) / (2 * sum(k * k for k in steps))
    return slopes
