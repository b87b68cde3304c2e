"""Log-mel front ends against transformers' own and against the definition written out in loops."""

import math

import numpy as np
from transformers import WhisperFeatureExtractor

from earkit.distill.teachers.mel_front_ends import speechbrain_fbank, whisper_log_mel


def sound(samples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(samples) / 16_000
    return (0.3 * np.sin(2 * np.pi * (200 + 900 * t) * t) + 0.01 * rng.normal(size=samples)).astype(
        np.float32
    )


def test_whisper_log_mel_is_that_of_transformers():
    audio = sound(12_345)
    theirs = WhisperFeatureExtractor()(audio, sampling_rate=16_000, return_tensors="np").input_features[0]
    ours = whisper_log_mel(np.pad(audio, (0, 480_000 - len(audio))))
    assert ours.shape == theirs.shape == (80, 3000)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert ours.max() - ours.min() == np.float32(2)  # 8 decades of power, divided by 4: the floor is reached


def test_fbank_is_the_definition_in_loops():
    audio = np.concatenate([sound(900), np.zeros(1100, np.float32)])  # silence reaches the floor of 80 dB
    padded = np.concatenate([np.zeros(200), audio.astype(np.float64), np.zeros(200)])
    edges = [700 * (10 ** (k * 2595 * math.log10(1 + 8000 / 700) / 81 / 2595) - 1) for k in range(82)]
    expected = np.zeros((13, 80))
    n = np.arange(400)
    for frame in range(13):
        windowed = padded[160 * frame : 160 * frame + 400] * (0.54 - 0.46 * np.cos(2 * np.pi * n / 400))
        power = [abs(np.sum(windowed * np.exp(-2j * np.pi * k * n / 400))) ** 2 for k in range(201)]
        for band in range(80):
            centre, width = edges[band + 1], edges[band + 1] - edges[band]
            weights = [max(0.0, 1 - abs(40 * k - centre) / width) for k in range(201)]
            total = sum(w * p for w, p in zip(weights, power, strict=True))
            expected[frame, band] = 10 * math.log10(max(total, 1e-10))
    expected = np.maximum(expected, expected.max() - 80)
    expected -= expected.mean(axis=0)
    ours = speechbrain_fbank(audio)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=1e-3)
