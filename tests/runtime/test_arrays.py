"""Arrays as sound, against the same sound in a file, and everything that can be wrong with an array."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import earkit.runtime.arrays as arrays_module
from earkit.runtime.arrays import array_blocks
from earkit.runtime.audio import read
from earkit.runtime.errors import AudioError


def noise(samples: int, channels: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels)).astype(np.float32)


def joined(array: NDArray[Any], rate: float) -> NDArray[np.float32]:
    return np.concatenate([audio.samples for audio in array_blocks(array, rate)])


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("block", [1 << 20, 9_999])
def test_an_array_gives_what_its_file_gives(
    rate: int, channels: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays_module, "_BLOCK", block)
    file = io.BytesIO()
    soundfile.write(file, noise(30_001, channels), rate, format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(joined(noise(30_001, channels), rate), read(file).samples)


def test_integers_use_their_whole_range() -> None:
    for kind in (np.int16, np.int32):
        limits = np.iinfo(kind)
        given = joined(np.array([limits.min, 0, limits.max // 2 + 1, limits.max], kind), 16_000)
        np.testing.assert_allclose(given, [-1, 0, 0.5, 1], atol=2**-15)
        assert given.min() == -1
        assert given.max() <= 1


def test_a_stereo_of_integers_does_not_overflow() -> None:
    assert joined(np.full((4, 2), 30_000, np.int16), 16_000) == pytest.approx([30_000 / 2**15] * 4)


def test_what_it_was_is_told() -> None:
    (audio,) = array_blocks(np.array([[0.5, 0.5], [2.0, 2.0]]), 16_000)
    assert (audio.source_rate, audio.channels, audio.clipped) == (16_000, 2, 1)
    assert audio.samples.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    "rate", [None, 0, -16_000, 16_000.5, float("nan"), float("inf"), 10, 10_000_000, "16000", True]
)
def test_a_rate_that_cannot_be_is_refused(rate: Any) -> None:
    with pytest.raises(AudioError, match=r"does not say its sample rate|cannot have a sample rate of"):
        array_blocks(noise(10), rate)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(0), "is empty"),
        (np.zeros((0, 2)), "is empty"),
        (np.zeros((2, 48_000)), r"give \(samples,\) or \(samples, channels\)"),
        (np.zeros((3, 4, 5)), "is no sound"),
        (np.float32(0.5).reshape(()), "is no sound"),
        (np.zeros(10, np.int64), "of type int64: give floats"),
        (np.zeros(10, np.bool_), "of type bool"),
        (np.zeros(10, np.complex64), "of type complex64"),
        (np.array(["a"]), "of type <U1"),
        (np.array([0.1, np.nan]), "not finite"),
        (np.array([[0.1, np.inf], [0, 0]]), "not finite"),
        (np.array([0.1, 300.0]), "reaches 300 where full scale is 1"),
    ],
)
def test_what_is_no_sound_is_refused(array: NDArray[Any], sentence: str) -> None:
    with pytest.raises(AudioError, match=sentence):
        list(array_blocks(array, 16_000))


def test_too_short_to_be_resampled() -> None:
    with pytest.raises(AudioError, match="too short"):
        list(array_blocks(np.zeros(1), 1_000_000))
