"""Log-mel features as the authors of two embedders publish them, in NumPy.

Both take 25 ms frames every 10 ms of 16 kHz audio by a centred Fourier transform of 400 samples; they differ
in window, mel scale, filter shape, edges and normalisation, and a model only knows its own.
"""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
N_FFT = 400
HOP = 160
BANDS = 80
SMALLEST = 1e-10  # power below it counts as this

Array = NDArray[np.float64]
Features = NDArray[np.float32]


def whisper_log_mel(audio: Features) -> Features:
    """Whisper's input (Radford et al. 2022, section 2.2, and its published code). (samples,) -> (80, time).

    Hann window, reflected edges, the last frame dropped, Slaney's mel filters of equal area; log10, no lower
    than 8 below the loudest value of the clip, scaled to about [-1, 1].
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = _power(np.pad(audio, N_FFT // 2, mode="reflect"), window)[:-1]
    log: Array = np.log10(np.maximum(power @ slaney_filters(), SMALLEST))
    return (log.clip(min=log.max() - 8).T / 4 + 1).astype(np.float32)


def speechbrain_fbank(audio: Features) -> Features:
    """SpeechBrain's `Fbank` and sentence-wise mean normalisation, for ECAPA. (samples,) -> (time, 80).

    Hamming window, silence beyond the edges, triangles on the HTK scale that are symmetric in hertz;
    decibels, no lower than 80 below the loudest value of the clip, minus each band's mean over time.
    """
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = _power(np.pad(audio, N_FFT // 2), window)
    decibels: Array = 10 * np.log10(np.maximum(power @ _htk_filters(), SMALLEST))
    decibels = decibels.clip(min=decibels.max() - 80)
    decibels -= decibels.mean(axis=0)
    return decibels.astype(np.float32)


def _power(padded: Features, window: Array) -> Array:
    """Power spectrum of each frame. (samples,) -> (time, 201)."""
    frames = np.lib.stride_tricks.sliding_window_view(padded.astype(np.float64), N_FFT)[::HOP]
    power: Array = np.abs(np.fft.rfft(frames * window)) ** 2
    return power


def slaney_filters(bands: int = BANDS) -> Array:
    """Triangles of area 1, their corners even on Slaney's scale (linear below 1 kHz). (201, bands)."""
    # 3/200 mel per hertz up to 15 mel = 1 kHz; above, 27 mel for each factor of 6.4
    mels = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), bands + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    bins = _bins()
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    filters: Array = np.maximum(triangles, 0) * 2 / (high - low)
    return filters


def _htk_filters() -> Array:
    """Triangles centred evenly on the HTK scale, as wide on the right as on the left. (201, 80)."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), BANDS + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    centre, width = corners[1:-1], np.diff(corners)[:-1]
    filters: Array = np.maximum(1 - np.abs(_bins() - centre) / width, 0)
    return filters


def _bins() -> Array:
    """Frequency of each bin of the Fourier transform, in hertz. (201, 1)."""
    return np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)[:, None]
