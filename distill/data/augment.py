"""What happens to sound on its way to a microphone: speed, rooms, noise, bandwidth, gain.

NumPy only, and drawn from one generator: the same generator gives the same sound. All but the change of speed
keep the length; that one comes before a clip is cropped.
"""

import logging
import math
from dataclasses import dataclass, fields

import numpy as np
import soxr
from numpy.typing import NDArray

from earkit.distill.data.corpus import Clip, open_corpus
from earkit.runtime.audio import SAMPLE_RATE, Samples, is_silent
from earkit.runtime.errors import AudioError, ConfigError

Range = tuple[float, float]

_TELEPHONE = (300.0, 3400.0)  # Hz, the band of ITU-T G.712
_LOWEST = 20.0  # Hz, below which coloured noise rises no more
_EARLY = (0.002, 0.05)  # seconds in which a room's first echoes arrive

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AugmentConfig:
    """How probable each kind is for a clip, and the range it is drawn from. All are off by default."""

    speed: float = 0.0
    speed_factor: Range = (0.9, 1.1)
    room: float = 0.0
    room_t60: Range = (0.1, 0.8)
    """Seconds in which the echo falls by 60 dB."""
    noise: float = 0.0
    noise_snr: Range = (5.0, 30.0)
    """dB."""
    noise_colour: Range = (0.0, 2.0)
    """Power falls with frequency to this exponent: 0 is white, 1 pink, 2 brown."""
    noise_folder: str = ""
    """A corpus of recorded noise (folder, manifest, shards) to take instead of the coloured one."""
    band: float = 0.0
    band_hz: Range = (2000.0, 7500.0)
    """Where a low-pass cuts off."""
    telephone: float = 0.0
    """Keeps 300 to 3400 Hz."""
    gain: float = 0.0
    gain_db: Range = (-12.0, 12.0)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ConfigError(f"augment.{item.name} is {value}: give the smaller end first")
            if isinstance(value, float) and not 0 <= value <= 1:
                raise ConfigError(f"augment.{item.name} is {value}: a probability is from 0 to 1")
        for name in ("speed_factor", "room_t60", "band_hz"):
            if getattr(self, name)[0] <= 0:
                raise ConfigError(f"augment.{name} is {getattr(self, name)}: it must be above 0")


def augment(
    samples: Samples, rng: np.random.Generator, config: AugmentConfig, noises: tuple[Clip, ...] = ()
) -> Samples:
    """Apply each kind but speed with its probability, in the order of the world; stays in [-1, 1].

    `noises` are those of `open_noises`.
    """
    if rng.random() < config.room:
        samples = reverberate(samples, impulse_response(rng, rng.uniform(*config.room_t60)))
    if rng.random() < config.noise:
        noise = _recorded_noise(noises, rng, len(samples))
        if noise is None:
            noise = coloured_noise(rng, len(samples), rng.uniform(*config.noise_colour))
        samples = add_noise(samples, noise, rng.uniform(*config.noise_snr))
    if rng.random() < config.band:
        samples = limit_band(samples, 0.0, rng.uniform(*config.band_hz))
    if rng.random() < config.telephone:
        samples = limit_band(samples, *_TELEPHONE)
    if rng.random() < config.gain:
        samples = change_gain(samples, rng.uniform(*config.gain_db))
    return np.clip(samples, -1, 1)


def draw_speeds(clips: int, rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.float64]:
    """Draw a factor for each clip, 1 for those whose speed stays; they decide how much of a clip is read."""
    changed = rng.random(clips) < config.speed
    return np.where(changed, rng.uniform(*config.speed_factor, clips), 1.0)


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play faster and higher by `factor`: (n,) becomes (round(n / factor),)."""
    if factor == 1:
        return samples
    faster: Samples = soxr.resample(samples, factor * SAMPLE_RATE, SAMPLE_RATE)
    return faster


def change_gain(samples: Samples, decibels: float) -> Samples:
    """Make louder, or quieter if negative, but never so loud that it clips."""
    gain = 10 ** (decibels / 20)
    peak = float(np.max(np.abs(samples), initial=0))
    return samples * np.float32(min(gain, max(1.0, 1 / peak)) if peak else gain)


def coloured_noise(rng: np.random.Generator, length: int, exponent: float) -> Samples:
    """Make Gaussian noise whose power falls with frequency to the `exponent`; its scale is arbitrary."""
    # Made a little longer than asked for in a size that suits the FFT, and cut.
    size = _fast_size(length)
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), _LOWEST)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32)) * (hertz / 1000) ** (-exponent / 2)
    spectrum[0] = 0  # no offset
    return _float32(np.fft.irfft(spectrum, size)[:length])


def add_noise(samples: Samples, noise: Samples, snr: float) -> Samples:
    """Add `noise` so that the clip's power is `snr` dB above it."""
    signal, power = (float(np.mean(np.square(x, dtype=np.float64))) for x in (samples, noise))
    if not power:
        return samples
    return samples + noise * np.float32(math.sqrt(signal / power * 10 ** (-snr / 10)))


def limit_band(samples: Samples, low: float, high: float) -> Samples:
    """Keep `low` to `high` Hz; at either edge 6 dB are lost, a sixth of it further nearly all."""
    size = _fast_size(
        len(samples) + SAMPLE_RATE // 20
    )  # the zeros keep its end from ringing into its beginning
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    kept = _below(hertz, high) * (1 - _below(hertz, low) if low else 1)
    return _float32(np.fft.irfft(np.fft.rfft(samples, size) * kept, size)[: len(samples)])


def _below(hertz: NDArray[np.floating], edge: float) -> NDArray[np.floating]:
    """From 1 to 0 along a raised cosine, between 5/6 and 7/6 of the edge."""
    across = np.clip((hertz / edge - 5 / 6) * 3, 0, 1)
    kept: NDArray[np.floating] = 0.5 + 0.5 * np.cos(np.pi * across)
    return kept


def impulse_response(rng: np.random.Generator, t60: float) -> Samples:
    """Make a room: direct sound, some early echoes, and noise that falls by 60 dB in `t60` seconds."""
    time = np.arange(max(2, int(t60 * SAMPLE_RATE))) / SAMPLE_RATE
    decay = 10 ** (-3 * time / t60)
    tail = rng.standard_normal(len(time)) * decay * (time >= _EARLY[0])
    echoes = np.zeros(len(time))
    arrivals = (rng.uniform(*_EARLY, size=rng.integers(3, 9)) * SAMPLE_RATE).astype(int)
    arrivals = arrivals[arrivals < len(time)]
    echoes[arrivals] = rng.uniform(-0.6, 0.6, len(arrivals)) * decay[arrivals]
    # The tail's energy against that of the direct sound: 0 dB is a far talker, -15 dB a near one.
    tail *= 10 ** (rng.uniform(-15, 0) / 20) / max(float(np.linalg.norm(tail)), 1e-9)
    response = tail + echoes
    response[0] = 1.0
    return _float32(response)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Convolve, cut the echoes after the end, and restore the power: how loud is a matter of gain."""
    size = _fast_size(len(samples) + len(response) - 1)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]
    before, after = float(np.linalg.norm(samples)), float(np.linalg.norm(wet))
    return _float32(wet * (before / after)) if after else samples


def open_noises(config: AugmentConfig) -> tuple[Clip, ...]:
    """Find the noise clips that the configuration names; none if it names none."""
    return open_corpus(config.noise_folder).clips if config.noise and config.noise_folder else ()


def _recorded_noise(noises: tuple[Clip, ...], rng: np.random.Generator, length: int) -> Samples | None:
    """Cut a piece from one of the recordings, repeated if it is too short; None if there is no sound."""
    if not noises:
        return None
    clip = noises[rng.integers(len(noises))]
    start = int(rng.integers(max(0, clip.samples - length) + 1))
    try:
        noise = clip.read(start / SAMPLE_RATE, length / SAMPLE_RATE).samples
    except AudioError as error:
        log.warning("coloured noise stands in for a recorded one: %s", error)
        return None
    return None if is_silent(noise) else np.resize(noise, length)


def _fast_size(length: int) -> int:
    """Give the next size of the form 2^a, 3 * 2^a or 5 * 2^a, for which FFTs are quick."""
    power = 1 << max(0, length - 1).bit_length()
    return min(size for size in (power * 5 // 8, power * 3 // 4, power) if size >= length)


def _float32(values: NDArray[np.floating]) -> Samples:
    return values.astype(np.float32)
