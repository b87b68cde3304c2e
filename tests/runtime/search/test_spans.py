"""Spans: windows at even steps that cover all of a sound, however it comes in blocks."""

from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from earkit.runtime.audio import Samples
from earkit.runtime.errors import ConfigError
from earkit.runtime.search.spans import cut, samples_of, spans
from earkit.runtime.sounds import OpenSound


def expected(samples: int, window: int, hop: int) -> list[tuple[int, int]]:
    """Begin and end of each span, from the definition."""
    if samples < window:
        return [(0, samples)]
    found = [(begin, begin + window) for begin in range(0, samples - window + 1, hop)]
    return found if found[-1][1] == samples else [*found, (samples - window, samples)]


def blocks(sound: Samples, size: int) -> Iterator[Samples]:
    return (sound[i : i + size] for i in range(0, len(sound), size))


@pytest.mark.parametrize(("window", "hop"), [(10, 5), (10, 10), (10, 3), (7, 1)])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_spans_are_those_of_the_definition(window: int, hop: int, size: int) -> None:
    for samples in range(1, 41):
        sound = np.arange(1, samples + 1, dtype=np.float32)
        found = list(spans(blocks(sound, size), window, hop))
        assert [(begin, begin + len(part)) for begin, part in found] == expected(samples, window, hop)
        for begin, part in found:
            np.testing.assert_array_equal(part, sound[begin : begin + len(part)])


def test_a_long_sound_is_never_held_whole() -> None:
    given = 0

    def sound() -> Iterator[Samples]:
        nonlocal given
        for _ in range(1000):
            given += 10
            yield np.zeros(10, np.float32)

    for begin, part in spans(sound(), 20, 10):
        assert given - (begin + len(part)) < 10
        assert part.base is None or part.base.size <= 40


def test_a_file_is_cut_on_the_grid_of_the_model(tmp_path) -> None:
    tone = np.sin(np.arange(24_000) / 5).astype(np.float32) / 2  # 3 s at 8 kHz
    soundfile.write(tmp_path / "a.wav", tone, 8000)
    found = list(cut(OpenSound(tmp_path / "a.wav", None, 16_000), 32_000, 16_000))
    assert [(begin, len(part)) for begin, part in found] == [(0, 32_000), (16_000, 32_000)]


def test_seconds_become_samples() -> None:
    assert samples_of(2.0, 0.5) == (32_000, 8_000)


@pytest.mark.parametrize(
    ("window", "hop"), [(0.0, 0.0), (1.0, 2.0), (1.0, 0.0), (float("inf"), 1.0), (float("nan"), 1.0)]
)
def test_windows_that_would_leave_sound_out_are_refused(window: float, hop: float) -> None:
    with pytest.raises(ConfigError, match="give a hop above 0 and no longer than the window"):
        samples_of(window, hop)
