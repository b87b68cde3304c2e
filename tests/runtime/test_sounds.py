"""Sounds that are read as they are needed."""

import itertools
from typing import Any

import numpy as np
import pytest

import earkit.runtime.sounds as sounds_module
from earkit.runtime.audio import Audio
from earkit.runtime.sounds import Heard, OpenSound


def test_a_short_sound_is_its_first_window() -> None:
    sound = OpenSound(np.ones(100) / 2, 16_000, 100)
    assert sound.is_short
    assert [len(window.samples) for window in sound.windows()] == [100]
    assert sound.heard == Heard(samples=100, source_rate=16_000, channels=1, clipped=0)


def test_a_long_sound_is_read_window_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = itertools.count()

    def endless(*_: Any) -> Any:
        return (Audio(np.ones(10, np.float32), 8000, 2, clipped=3) for _ in taken)

    monkeypatch.setattr(sounds_module, "blocks", endless)
    sound = OpenSound("a.wav", None, 100, 20, 30)
    assert not sound.is_short
    assert len(sound.first.samples) == 130
    assert next(taken) == 23  # two windows and what is after the second
    assert sound.heard == Heard(samples=230, source_rate=8000, channels=2, clipped=69)
    given = list(itertools.islice(sound.windows(), 4))
    assert [(window.skip, window.keep) for window in given] == [(0, 100), *[(20, 100)] * 3]
