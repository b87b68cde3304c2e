"""Sound that is already in memory, as a NumPy array: (samples,) or (samples, channels), with its rate."""

from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.audio import CHANNELS, RATES, Audio, Samples, at_16_khz
from earkit.runtime.errors import AudioError

_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}
_BLOCK = 1 << 20  # values converted at a time


def array_blocks(array: NDArray[Any], sample_rate: float | None) -> Iterator[Audio]:
    """Give what `audio.blocks` gives of a file: mono, 16 kHz, clipped to [-1, 1] and counted.

    Floats are in [-1, 1]; int16 and int32 use their whole range. Channels are averaged.
    """
    called = f"an array of shape {array.shape}"
    rate = _rate(sample_rate, called)
    if not (np.issubdtype(array.dtype, np.floating) or array.dtype in _FULL_SCALE):
        raise AudioError(f"{called} is of type {array.dtype}: give floats in [-1, 1], int16 or int32")
    if not array.size:
        raise AudioError(f"{called} is empty: give at least one sample")
    if array.ndim not in {1, 2} or (array.ndim == 2 and array.shape[1] not in CHANNELS):
        raise AudioError(
            f"{called} is no sound: give (samples,) or (samples, channels), at most {CHANNELS[-1]} channels"
        )
    channels = 1 if array.ndim == 1 else array.shape[1]
    return at_16_khz(_mono(array.reshape(-1, channels), called), rate, channels, called)


def _rate(sample_rate: float | None, called: str) -> int:
    if sample_rate is None:
        raise AudioError(f"{called} does not say its sample rate: give sample_rate, in Hz")
    if not isinstance(sample_rate, Real) or sample_rate not in RATES:  # 16000.0 is in it, 16000.5 is not
        raise AudioError(
            f"{called} cannot have a sample rate of {sample_rate}: give whole Hz, {RATES[0]} to {RATES[-1]}"
        )
    return int(sample_rate)


def _mono(array: NDArray[Any], called: str) -> Iterator[Samples]:
    """Average channels block by block. (samples, channels) -> (samples,)."""
    step = max(1, _BLOCK // array.shape[1])
    for begin in range(0, len(array), step):
        block = array[begin : begin + step].astype(np.float32, copy=False)
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise AudioError(f"{called} holds samples that are not finite: repair it, or leave it out")
        yield mono / np.float32(_FULL_SCALE[array.dtype]) if array.dtype in _FULL_SCALE else mono
