"""Changes that leave the words as they are: noise, gain, bandwidth, room, speed. NumPy, from a generator."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr

from earkit.runtime.audio import SAMPLE_RATE, Samples

Range = tuple[float, float]


@dataclass(frozen=True)
class AugmentConfig:
    """Probability of each kind per clip, and its range. All off by default."""

    noise: float = 0.0
    noise_snr: Range = (5.0, 30.0)
    """dB."""
    noise_colour: Range = (0.0, 2.0)
    """Power falls with frequency to this exponent: 0 is white, 1 pink, 2 brown."""
    gain: float = 0.0
    gain_db: Range = (-12.0, 12.0)
    band: float = 0.0
    band_hz: Range = (2000.0, 7500.0)
    """Cut-off of the low-pass; the high-pass of a telephone, at 300 Hz, joins in half of the cases."""
    room: float = 0.0
    room_t60: Range = (0.1, 0.8)
    """Seconds until an echo has fallen by 60 dB."""
    speed: float = 0.0
    speed_factor: Range = (0.9, 1.1)


def draw_speed(config: AugmentConfig, rng: np.random.Generator) -> float:
    """Draw the speed factor of a clip; 1 is unchanged. Drawn before reading, as it decides how much to read."""
    return float(rng.uniform(*config.speed_factor)) if rng.random() < config.speed else 1.0


def change_speed(samples: Samples, factor: float) -> Samples:
    """Faster by the factor, and higher by it too: (n,) to about (n / factor,)."""
    if factor == 1:
        return samples
    changed: Samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE)
    return changed


def augment(samples: Samples, config: AugmentConfig, rng: np.random.Generator) -> Samples:
    """Apply each kind with its probability, in the order of the world: room, noise, microphone, gain."""
    kinds: list[tuple[float, Callable[[], Samples]]] = [
        (config.room, lambda: add_room(samples, rng.uniform(*config.room_t60), rng)),
        (config.noise, lambda: add_noise(samples, rng.uniform(*config.noise_snr), _colour(config, rng), rng)),
        (
            config.band,
            lambda: limit_band(samples, 300.0 * (rng.random() < 0.5), rng.uniform(*config.band_hz)),
        ),
        (config.gain, lambda: change_gain(samples, rng.uniform(*config.gain_db))),
    ]
    for probability, kind in kinds:
        if rng.random() < probability:
            samples = kind()
    return samples


def _colour(config: AugmentConfig, rng: np.random.Generator) -> float:
    return float(rng.uniform(*config.noise_colour))


def change_gain(samples: Samples, decibels: float) -> Samples:
    """Louder or quieter, but never over full scale."""
    gain = 10 ** (decibels / 20)
    peak = float(np.abs(samples).max(initial=1e-9))
    return (samples * min(gain, 1 / peak if peak * gain > 1 else gain)).astype(np.float32)


def add_noise(samples: Samples, snr: float, colour: float, rng: np.random.Generator) -> Samples:
    """Add noise whose power falls with frequency to the exponent `colour`, so many dB below the clip."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    hertz = np.maximum(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE), 20.0)
    noise = np.fft.irfft(spectrum * hertz ** (-colour / 2), len(samples))
    power = float(np.mean(samples.astype(np.float64) ** 2))
    scale = np.sqrt(power / (np.mean(noise**2) + 1e-20) * 10 ** (-snr / 10))
    return (samples + scale * noise).astype(np.float32)


def limit_band(samples: Samples, low: float, high: float) -> Samples:
    """Keep low to high Hz, with edges an eighth of an octave wide or so."""
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    kept = 1 / (1 + (hertz / high) ** 24)
    if low:
        kept *= 1 - 1 / (1 + (hertz / low) ** 8)
    return np.fft.irfft(np.fft.rfft(samples) * kept, len(samples)).astype(np.float32)


def impulse_response(t60: float, rng: np.random.Generator) -> Samples:
    """Make a room: the direct sound, some early echoes, and a tail of decaying noise; of unit energy."""
    length = int(t60 * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    tail = rng.standard_normal(length) * 10 ** (-3 * time / t60)  # -60 dB at t60
    tail[: int(0.005 * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.2, 0.8) / np.sqrt(np.sum(tail**2) + 1e-12)
    echoes = rng.integers(int(0.002 * SAMPLE_RATE), min(length, int(0.05 * SAMPLE_RATE)), size=6)
    tail[echoes] += rng.uniform(-0.4, 0.4, size=6)
    tail[0] = 1.0
    return (tail / np.sqrt(np.sum(tail**2))).astype(np.float32)


def add_room(samples: Samples, t60: float, rng: np.random.Generator) -> Samples:
    """Hear the clip in a generated room; the direct sound stays where it was."""
    response = impulse_response(t60, rng)
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return wet[: len(samples)].astype(np.float32)
