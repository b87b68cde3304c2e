"""Augmentation against closed forms: powers, spectra, decay times, lengths; and that it repeats itself."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earkit.distill.config import read_config, to_toml
from earkit.distill.data.augment import (
    AugmentConfig,
    Samples,
    add_noise,
    augment,
    change_gain,
    change_speed,
    coloured_noise,
    draw_speeds,
    impulse_response,
    limit_band,
    open_noises,
    reverberate,
)
from earkit.runtime.errors import ConfigError, DataError

RATE = 16000
EVERYTHING = AugmentConfig(room=1, noise=1, band=1, telephone=1, gain=1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def speech(seconds: float = 2.0) -> Samples:
    return (0.2 * rng(9).standard_normal(int(seconds * RATE))).clip(-1, 1).astype(np.float32)


def tone(hertz: float, seconds: float = 1.0) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE, dtype=np.float32) / 2


def power(samples: Samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def density(samples: Samples, low: float, high: float) -> float:
    """Mean power per bin between two frequencies."""
    spectrum: NDArray[np.float64] = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].mean())


def test_off_by_default() -> None:
    clip = speech()
    assert np.array_equal(augment(clip, rng(), AugmentConfig()), clip)
    assert (draw_speeds(100, rng(), AugmentConfig()) == 1).all()


@pytest.mark.parametrize("kind", ["room", "noise", "band", "telephone", "gain"])
def test_each_kind_changes_the_sound_and_neither_its_length_nor_its_range(kind: str) -> None:
    clip = speech()
    changed = augment(clip, rng(), AugmentConfig(**{kind: 1.0}))
    assert (changed.shape, changed.dtype) == (clip.shape, np.float32)
    assert np.abs(changed).max() <= 1
    assert not np.allclose(changed, clip, atol=1e-3)


def test_the_same_generator_gives_the_same_sound() -> None:
    first, second, third = (augment(speech(), rng(seed), EVERYTHING) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_probability() -> None:
    clip = speech(0.1)
    config = AugmentConfig(gain=0.3, gain_db=(-6, -6))
    generator = rng()
    changed = sum(not np.array_equal(augment(clip, generator, config), clip) for _ in range(1000))
    assert 240 < changed < 360


def test_short_and_silent_clips_survive() -> None:
    for clip in (np.zeros(RATE, np.float32), np.array([0.5], np.float32), np.zeros(37, np.float32)):
        changed = augment(clip, rng(), EVERYTHING)
        assert changed.shape == clip.shape
        assert np.isfinite(changed).all()


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(snr: float) -> None:
    clip = speech()
    added = add_noise(clip, coloured_noise(rng(), len(clip), 1.0), snr) - clip
    assert 10 * np.log10(power(clip) / power(added)) == pytest.approx(snr, abs=0.05)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_falls_by_3_db_per_octave_and_exponent(exponent: float) -> None:
    noise = coloured_noise(rng(), 20 * RATE, exponent)
    assert len(noise) == 20 * RATE
    octaves = [density(noise, low, 2 * low) for low in (250, 500, 1000, 2000, 4000)]
    falls = -10 * np.diff(np.log10(octaves))
    np.testing.assert_allclose(falls, 3.01 * exponent, atol=0.35)


def test_recorded_noise(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.wav", 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE), RATE)
    config = AugmentConfig(noise=1, noise_snr=(0, 0), noise_folder=str(tmp_path))
    clip = speech()
    added = augment(clip, rng(), config, open_noises(config)) - clip
    assert density(added, 950, 1050) > 100 * density(added, 2000, 7000)
    assert open_noises(AugmentConfig(noise_folder="/nowhere")) == ()  # noise is off
    with pytest.raises(DataError, match="there is nothing at"):
        open_noises(AugmentConfig(noise=1, noise_folder=str(tmp_path / "none")))


def test_gain() -> None:
    clip = tone(440) / 5
    np.testing.assert_allclose(change_gain(clip, -20.0), clip / 10, atol=1e-7)
    assert np.abs(change_gain(clip, 40.0)).max() == pytest.approx(1.0)  # as far as full scale


@pytest.mark.parametrize(("hertz", "kept"), [(1000, 1.0), (2400, 1.0), (3000, 0.5), (3600, 0.0), (7000, 0.0)])
def test_low_pass(hertz: float, kept: float) -> None:
    clip = tone(hertz)
    inner = slice(2000, -2000)
    np.testing.assert_allclose(limit_band(clip, 0, 3000)[inner], kept * clip[inner], atol=0.01)


def test_telephone_band() -> None:
    clip = speech(4)
    ratio = [
        density(limit_band(clip, 300, 3400), *b) / density(clip, *b)
        for b in ((0, 240), (400, 2800), (4000, 8000))
    ]
    assert ratio[0] < 1e-3
    assert ratio[1] == pytest.approx(1, abs=0.02)
    assert ratio[2] < 1e-3


@pytest.mark.parametrize("t60", [0.2, 0.6])
def test_echo_falls_by_60_db_in_t60(t60: float) -> None:
    """By Schroeder's backward integration of the tail, averaged over rooms."""
    tails = np.mean([impulse_response(rng(seed), t60)[RATE // 20 :] ** 2 for seed in range(30)], axis=0)
    level = 10 * np.log10(np.cumsum(tails[::-1])[::-1])
    early, late = 0.1 * t60, 0.4 * t60
    fall = level[int(early * RATE)] - level[int(late * RATE)]
    assert fall / (late - early) * t60 == pytest.approx(60, rel=0.1)


def test_direct_sound_stays_where_it_was_and_the_power_what_it_was() -> None:
    for seed in range(5):
        response = impulse_response(rng(seed), 0.5)
        assert response[0] == 1
        assert np.argmax(np.abs(response)) == 0
        click = np.zeros(RATE, np.float32)
        click[3000] = 0.5
        wet = reverberate(click, response)
        assert np.abs(wet[:3000]).max() < 1e-6
        assert np.argmax(np.abs(wet)) == 3000
        assert power(wet) == pytest.approx(power(click), rel=1e-3)


def test_reverberation_is_convolution() -> None:
    clip, response = speech(0.3), impulse_response(rng(), 0.2)
    expected = np.convolve(clip.astype(np.float64), response)[: len(clip)]
    expected *= np.sqrt(power(clip) / np.mean(expected**2))
    np.testing.assert_allclose(reverberate(clip, response), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.0371, 1.1])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    clip = tone(1000, 2.0)
    faster = change_speed(clip, factor)
    assert len(faster) == round(len(clip) / factor)
    expected = tone(1000 * factor, 3.0)[: len(faster)]
    np.testing.assert_allclose(faster[500:-500], expected[500:-500], atol=1e-3)


def test_speeds_are_drawn_within_the_range() -> None:
    speeds = draw_speeds(2000, rng(), AugmentConfig(speed=0.5, speed_factor=(0.9, 1.1)))
    assert speeds.min() >= 0.9
    assert speeds.max() <= 1.1
    assert 900 < (speeds != 1).sum() < 1100


def test_configuration(tmp_path: Path) -> None:
    config = AugmentConfig(noise=0.5, noise_snr=(0, 10), noise_folder="n")
    (tmp_path / "a.toml").write_text(to_toml(config))
    assert read_config(AugmentConfig, tmp_path / "a.toml") == config
    for wrong in ({"gain": 1.5}, {"noise": -0.1}, {"noise_snr": (10.0, 5.0)}, {"speed_factor": (0.0, 1.0)}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            AugmentConfig(**wrong)
