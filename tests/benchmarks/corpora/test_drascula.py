"""Raw samples of two lines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from earkit.benchmarks.corpora.drascula import sounds


def test_lines(place: Callable[..., Path]) -> None:
    game = "usr/share/scummvm/drascula/en"
    files = {f"{game}/1.ALS": bytes([128, 192] * 1000), f"{game}/10.ALS": b"\x80" * 99, f"{game}/1.ALG": b"x"}
    first, second = sounds({"drascula": place(files)})
    assert (first.name, second.name, first.language) == ("1", "10", "en")
    audio = first.audio()
    assert audio.source_rate == 11_025
    assert len(audio.samples) == pytest.approx(2000 * 16_000 / 11_025, abs=2)
    assert audio.samples[500:2000].mean() == pytest.approx(0.25, abs=0.01)  # of 0 and 64 / 128
