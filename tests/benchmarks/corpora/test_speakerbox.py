"""Segments of two meetings."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.speakerbox import sounds


def test_meetings_and_speakers(
    place: Callable[..., Path], tone: Callable[..., bytes], zipped: Callable[..., bytes]
) -> None:
    archive = zipped({"m2/ann/5-9.wav": tone(300), "m1/bob/100-200.wav": tone(500), "m1/bob/": b""})
    first, second = sounds({"speakerbox": place({"speakerbox/tests/data/diarized.zip": archive})})
    assert (first.name, first.session, first.label) == ("m1/bob/100-200", "m1", "bob")
    assert (second.name, second.session, second.speaker) == ("m2/ann/5-9", "m2", "speakerbox-ann")
    assert len(second.audio().samples) == 3200
