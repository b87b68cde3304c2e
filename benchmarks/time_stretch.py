"""Speech slower or faster at the same pitch, and higher or lower at the same speed.

Waveform-similarity overlap-add (Verhelst and Roelands 1993): windows of the sound are laid down at an even
pace, each taken from near where the new speed wants it, there where it best continues the last one.
"""

import numpy as np
from numpy.typing import NDArray

from earkit.distill.data.augment import change_speed
from earkit.runtime.errors import ConfigError

Samples = NDArray[np.float32]

WINDOW = 512  # samples, 32 ms
STEP = WINDOW // 2
SEARCH = 160  # samples on each side: a period of the lowest voices fits


def time_stretch(samples: Samples, factor: float) -> Samples:
    """Make `factor` times as long: (n,) becomes (round(n * factor),)."""
    if not 0.25 <= factor <= 4:
        raise ConfigError(f"speech cannot be made {factor:g} times as long and stay speech: give 0.25 to 4")
    length = round(len(samples) * factor)
    count = -(-length // STEP) + 1
    source = np.pad(samples, (STEP + SEARCH, STEP + SEARCH + 2 * WINDOW))  # window k is centred at k * STEP
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)  # shifted by half, these sum to 1
    made = np.zeros((count + 1) * STEP, np.float32)
    at = SEARCH
    for k in range(count):
        if k:
            wanted = SEARCH + round(min(k * STEP / factor, len(samples)))
            at = _best_continuation(source, at + STEP, wanted)
        made[k * STEP : k * STEP + WINDOW] += window * source[at : at + WINDOW]
    return made[STEP : STEP + length]


def _best_continuation(source: Samples, natural: int, wanted: int) -> int:
    """Place near `wanted` at which the sound is most like that which naturally follows."""
    template = source[natural : natural + WINDOW]
    region = source[wanted - SEARCH : wanted + SEARCH + WINDOW]
    likeness = np.correlate(region, template, mode="valid")
    energy = np.convolve(np.square(region), np.ones(WINDOW, np.float32), mode="valid")
    return wanted - SEARCH + int((likeness / np.sqrt(energy + 1e-6)).argmax())


def pitch_shift(samples: Samples, semitones: float) -> Samples:
    """Raise all frequencies by so many semitones, or lower them if negative; the length stays."""
    ratio = 2.0 ** (semitones / 12)
    shifted = change_speed(time_stretch(samples, ratio), ratio)[: len(samples)]
    return np.pad(shifted, (0, len(samples) - len(shifted)))
