"""The folded transform against NumPy's FFT."""

import numpy as np
import pytest
import torch

from earkit.distill.front_end import LogMel, mel_bands
from earkit.distill.student import Student, StudentConfig
from earkit.export.folded_fourier import FoldedLogMel, fold_front_end


def by_fft(audio: np.ndarray, bands: int) -> np.ndarray:
    """Log-mel of windows of 400, one every 160 samples from 80 before the first, in float64."""
    windows = 4 * -(-len(audio) // 640)
    padded = np.pad(audio.astype(np.float64), (80, 1000))
    cut = np.stack([padded[160 * w : 160 * w + 400] for w in range(windows)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(cut * hann)) ** 2
    return np.log(mel_bands(bands).double().numpy() @ power.T + 1e-6)


@pytest.mark.parametrize("samples", [1, 639, 640, 5000])
def test_it_is_the_log_mel_spectrogram(samples: int) -> None:
    audio = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32) / 10
    made = FoldedLogMel(LogMel(80))(torch.from_numpy(audio))
    for row, clip in zip(made.numpy(), audio, strict=True):
        np.testing.assert_allclose(row, by_fft(clip, 80), atol=1e-4)


def test_the_first_convolution_hears_what_it_heard() -> None:
    student = Student(StudentConfig(size="custom", dim=32, depth=1)).eval()
    student.log_mel.mean.copy_(5 * torch.randn(80, 1))
    student.log_mel.deviation.copy_(torch.rand(80, 1) + 0.5)
    audio = torch.randn(2, 3000) / 10
    expected = student.stem(student.log_mel(audio))
    fold_front_end(student)
    torch.testing.assert_close(student.stem(student.log_mel(audio)), expected, atol=1e-4, rtol=0)


def test_each_sine_is_in_its_band() -> None:
    """Every bin, low, middle and high, goes where NumPy says."""
    t = np.arange(1600) / 16000
    for hertz in (40, 1000, 3960, 4000, 4040, 7900):
        tone = np.sin(2 * np.pi * hertz * t + 0.3).astype(np.float32)
        made = FoldedLogMel(LogMel(80))(torch.from_numpy(tone)[None])[0].numpy()
        wanted = by_fft(tone, 80)
        assert (made.argmax(0) == wanted.argmax(0)).all()
        np.testing.assert_allclose(made, wanted, atol=0.02)  # float32 beside a full-scale sine
