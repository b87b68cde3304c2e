"""Log-mel spectrogram in NumPy: the floor that every learned representation has to beat."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.audio import SAMPLE_RATE

Array = NDArray[np.float32]

WINDOW = 400
HOP = 320


@cache
def mel_filters(bands: int, fft: int) -> Array:
    """Triangular filters on the mel scale of O'Shaughnessy, from 0 Hz to 8 kHz. -> (bands, fft // 2 + 1)."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)  # Hz
    bins = np.fft.rfftfreq(fft, 1 / SAMPLE_RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters: Array = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


def log_mel(samples: Array, bands: int = 80) -> Array:
    """25 ms windows every 20 ms, the grid of the teacher's frames. (samples,) -> (frames, bands)."""
    count = (len(samples) - WINDOW) // HOP + 1
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), 512)) ** 2
    mel: Array = np.log(power @ mel_filters(bands, 512).T + 1e-6).astype(np.float32)
    return mel
