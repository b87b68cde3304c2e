"""Tones and clicks: how long, how high, and in what order things come out."""

import numpy as np
import pytest

from earkit.benchmarks.time_stretch import pitch_shift, time_stretch
from earkit.runtime.errors import ConfigError

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def loudest_frequency(samples: np.ndarray) -> float:
    middle = samples[len(samples) // 8 : -len(samples) // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))
    return float(np.fft.rfftfreq(1 << 17, 1 / RATE)[spectrum.argmax()])


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2, 1.7])
def test_a_tone_keeps_its_pitch_and_power(factor: float) -> None:
    stretched = time_stretch(tone(220), factor)
    assert len(stretched) == round(RATE * factor)
    assert loudest_frequency(stretched) == pytest.approx(220, rel=0.01)
    inner = stretched[1000:-1000]
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_unstretched_is_unchanged() -> None:
    samples = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    np.testing.assert_allclose(time_stretch(samples, 1.0), samples, atol=1e-5)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_things_happen_at_their_time(factor: float) -> None:
    """A low tone, then a high one: the change comes at `factor` times its place."""
    stretched = time_stretch(np.concatenate([tone(200), tone(900)]), factor)
    change = round(RATE * factor)
    assert loudest_frequency(stretched[: change - 1500]) == pytest.approx(200, rel=0.02)
    assert loudest_frequency(stretched[change + 1500 :]) == pytest.approx(900, rel=0.02)


@pytest.mark.parametrize("semitones", [-4.0, 0.0, 2.0, 12.0])
def test_a_shift_changes_pitch_alone(semitones: float) -> None:
    shifted = pitch_shift(tone(300), semitones)
    assert len(shifted) == RATE
    assert loudest_frequency(shifted) == pytest.approx(300 * 2 ** (semitones / 12), rel=0.01)


def test_what_would_not_be_speech() -> None:
    with pytest.raises(ConfigError, match="10 times as long"):
        time_stretch(tone(200), 10)
