"""MFCC against the definition of the cosine transform, and differences against a line."""

import numpy as np

from earkit.benchmarks.log_mel import log_mel
from earkit.benchmarks.mfcc import differences, mfcc


def test_against_the_definition() -> None:
    samples = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    bands = log_mel(samples, 40)
    made = mfcc(samples)
    assert made.shape == (len(bands), 39)
    for k in (0, 1, 12):
        expected = [
            np.sqrt(2 / 40) * sum(frame[b] * np.cos(np.pi * k * (b + 0.5) / 40) for b in range(40))
            for frame in bands.astype(np.float64)
        ]
        np.testing.assert_allclose(made[:, k], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(made[:, 13:26], differences(made[:, :13]), atol=1e-4)
    np.testing.assert_allclose(made[:, 26:], differences(made[:, 13:26]), atol=1e-4)


def test_a_line_has_its_slope_and_a_constant_none() -> None:
    line = np.arange(10.0)[:, None] * [3.0, -1.0]
    np.testing.assert_allclose(differences(line)[2:-2], np.tile([3.0, -1.0], (6, 1)))
    np.testing.assert_allclose(differences(np.full((7, 2), 5.0)), 0)
