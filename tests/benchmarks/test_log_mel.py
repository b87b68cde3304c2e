import numpy as np
import pytest

from earkit.benchmarks.log_mel import log_mel, mel_filters


def test_a_sine_peaks_in_its_band() -> None:
    t = np.arange(16_000) / 16_000
    for hertz in (200, 1000, 4000):
        frames = log_mel((0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32), bands=40)
        centres = mel_filters(40, 512).argmax(1) * 16_000 / 512
        assert centres[frames.mean(0).argmax()] == pytest.approx(hertz, abs=0.08 * hertz + 32)


def test_one_frame_per_twenty_milliseconds() -> None:
    assert log_mel(np.zeros(400, np.float32)).shape == (1, 80)
    assert log_mel(np.zeros(719, np.float32)).shape == (1, 80)
    assert log_mel(np.zeros(720, np.float32)).shape == (2, 80)


def test_doubling_the_amplitude_adds_log_four() -> None:
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    np.testing.assert_allclose(log_mel(2 * noise) - log_mel(noise), np.log(4), atol=1e-3)
