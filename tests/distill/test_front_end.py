"""Log-mel inside the network, against NumPy's Fourier transform and another library's mel bands."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank

from earkit.distill.front_end import FLOOR, LogMel, mel_bands, student_frames
from earkit.runtime.errors import DataError

LENGTHS = (1, 159, 640, 641, 1600, 6399, 6400, 6401)


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def hertz_of_mel(mel: float) -> float:
    """Slaney: 200/3 Hz for each mel up to 1 kHz, mel 15; above it 27 mels are a factor of 6.4."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def triangles(bands: int) -> NDArray[np.float64]:
    top = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    edges = [hertz_of_mel(top * i / (bands + 1)) for i in range(bands + 2)]
    bins = np.arange(201) * 40.0
    rows = [np.interp(bins, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(bands)]
    return np.array([row * 2 / (edges[i + 2] - edges[i]) for i, row in enumerate(rows)])


def log_mel(audio: NDArray[np.float32], bands: int) -> NDArray[np.float64]:
    """One window of 400 samples every 160, the first from sample -80 on; what is not there is zero."""
    windows = 4 * -(-len(audio) // 640)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.concatenate([np.zeros(80), audio, np.zeros(2000)])
    power = [np.abs(np.fft.rfft(padded[160 * w : 160 * w + 400] * hann)) ** 2 for w in range(windows)]
    return np.log(triangles(bands) @ np.array(power).T + FLOOR)


def test_landmarks_of_the_scale() -> None:
    """Values that librosa's documentation gives."""
    assert [hertz_of_mel(mel) for mel in (0.9, 3, 6.6, 15, 42)] == pytest.approx([60, 200, 440, 1000, 6400])


@pytest.mark.parametrize("bands", [20, 40, 80])
def test_bands_are_slaneys(bands: int) -> None:
    np.testing.assert_allclose(mel_bands(bands), triangles(bands), atol=1e-8)
    other = mel_filter_bank(201, bands, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_bands(bands), other.T, atol=1e-7)


@pytest.mark.parametrize("samples", LENGTHS)
def test_against_the_fourier_transform_of_each_window(samples: int) -> None:
    audio = noise(samples)
    made = LogMel(40).raw(torch.from_numpy(audio)[None])
    assert made.shape == (1, 40, 4 * -(-samples // 640))
    np.testing.assert_allclose(made[0], log_mel(audio, 40), atol=2e-4)


def test_every_sample_is_in_a_frame() -> None:
    assert student_frames(torch.tensor(LENGTHS)).tolist() == [1, 1, 1, 2, 3, 10, 10, 11]


def test_the_four_windows_of_a_frame_share_the_centre_of_pooling() -> None:
    """Sample 640 j + 360, in the middle of two frames of a 50 Hz teacher."""
    audio = torch.zeros(1, 6400)
    audio[0, 640 * 4 + 360] = 1
    heard = LogMel(20).raw(audio)[0, :, 16:20]
    torch.testing.assert_close(heard, heard.flip(1))
    assert (heard[:, 1:3] > np.log(FLOOR) + 1).all()


def test_silence_is_the_floor() -> None:
    made = LogMel(20)(torch.zeros(2, 1000))
    torch.testing.assert_close(made, torch.full((2, 20, 8), float(np.log(FLOOR))))


def test_fit_standardises_the_clips_it_has_seen() -> None:
    model = LogMel(20)
    clips = [torch.from_numpy((0.1 + i) * noise(n, i)) for i, n in enumerate((6400, 12_345, 2000))]
    model.fit(clips)
    seen = torch.cat([model(clip[None])[0, :, : 4 * (len(clip) // 640)] for clip in clips], dim=1)
    torch.testing.assert_close(seen.mean(1), torch.zeros(20), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std(1), torch.ones(20), atol=1e-4, rtol=0)


def test_a_band_that_stands_still_is_not_blown_up() -> None:
    model = LogMel(20)
    model.fit([torch.zeros(6400)])
    quiet = model(1e-4 * torch.from_numpy(noise(6400))[None])
    assert quiet.abs().max() < 10
    assert not model(torch.zeros(1, 6400)).any()


def test_clips_shorter_than_a_frame_teach_no_level() -> None:
    with pytest.raises(DataError, match="no clip lasts 40 ms"):
        LogMel(20).fit([torch.zeros(639)])


def test_only_the_statistics_are_kept_in_files() -> None:
    assert set(LogMel(20).state_dict()) == {"mean", "deviation"}
