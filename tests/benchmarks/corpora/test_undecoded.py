"""Sound without a header."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks.corpora.undecoded import read_16_bit, read_gsm, read_mu_law, read_unsigned_8_bit


@pytest.mark.parametrize("count", [400, 401])
def test_8_bit(count: int) -> None:
    ramp = np.linspace(0, 255, count).astype(np.uint8)
    audio = read_unsigned_8_bit(ramp.tobytes(), 16_000, name="ramp")
    assert audio.samples.tolist() == ((ramp.astype(np.float32) - 128) / 128).tolist()


def test_16_bit() -> None:
    audio = read_16_bit(np.array([0, 16384, -32768, 1], "<i2").tobytes(), 16_000, name="four")
    assert audio.samples.tolist() == [0.0, 0.5, -1.0, 1 / 32768]


def test_mu_law() -> None:
    """Every byte, by G.711: inverted, a sign, three bits of exponent and four of mantissa, and a bias."""
    codes = np.arange(256, dtype=np.uint8)
    bits = (~codes).astype(int)
    sizes = ((bits % 16 * 8 + 132) << (bits // 16 % 8)) - 132
    audio = read_mu_law(codes.tobytes(), 16_000, name="all")
    assert audio.samples.tolist() == (np.where(bits >= 128, -sizes, sizes) / 32768).tolist()


def test_gsm(tmp_path: Path) -> None:
    wave = (0.5 * np.sin(2 * np.pi * 400 * np.arange(1600) / 8000)).astype(np.float32)
    path = tmp_path / "a.gsm"
    soundfile.write(path, wave, 8000, format="RAW", subtype="GSM610")
    assert path.stat().st_size == 330
    audio = read_gsm(path)
    assert audio.source_rate == 8000
    assert len(audio.samples) == 3200
    assert np.abs(np.fft.rfft(audio.samples[800:2400])).argmax() == 40  # 400 Hz in steps of 10
