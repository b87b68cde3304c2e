"""What the table of the browser is made of; the browser itself is in `make test-web`."""

import base64

import numpy as np
import pytest

from earkit.benchmarks.web_parity import _equal as equal
from earkit.benchmarks.web_parity import in_base64, least_cosine
from earkit.runtime.embedder import Embedder


def test_samples_survive_json():
    samples = np.array([0.1, -1.0, 3e-5], np.float32)
    assert np.frombuffer(base64.b64decode(in_base64(samples)), "<f4").tolist() == samples.tolist()
    assert base64.b64decode(in_base64(b"\0RIFF")) == b"\0RIFF"


def test_the_least_cosine_is_of_rows():
    a = np.array([[1.0, 0.0], [0.0, 2.0]])
    b = np.array([[3.0, 3.0], [0.0, 5.0]])
    assert least_cosine(a, b) == pytest.approx(np.sqrt(0.5))


def test_tokens_are_compared_with_pythons(clip_model):
    embedder = Embedder.load(clip_model, threads=1)
    clips = [np.linspace(0, 0.5, n, dtype=np.float32) for n in (400, 1000)]
    wanted = np.concatenate([embedder.embed(clip, 16_000, output="tokens") for clip in clips]).tolist()
    assert equal(wanted, embedder, clips) == 1
    other = [*wanted[:-1], wanted[-1] + 1]
    assert equal(other, embedder, clips) == pytest.approx(1 - 1 / len(wanted))
    assert equal(wanted[:-1], embedder, clips) == 0
