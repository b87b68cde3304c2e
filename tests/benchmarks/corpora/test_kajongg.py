"""Two voices of kajongg."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.kajongg import sounds


def test_voices_and_words(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    voices = "usr/share/kajongg/voices"
    files = {f"{voices}/male1/c5.ogg": tone(form="OGG"), f"{voices}/de/male1/we.ogg": tone(form="OGG")}
    german, english = sounds({"kajongg": place(files | {f"{voices}/male1/COPYRIGHT": "x"})})
    assert (german.name, german.language, german.speaker, german.label) == (
        "de/male1/we",
        "de",
        "kajongg-de-male1",
        "we",
    )
    assert (english.name, english.language, english.speaker, english.label) == (
        "en/male1/c5",
        "en",
        "kajongg-en-male1",
        "c5",
    )
    assert len(english.audio().samples) == 3200
