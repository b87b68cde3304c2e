"""Two languages with their themes."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.ktuberling import sounds

SOUNDS = "usr/share/ktuberling/sounds"


def test_concepts(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    theme = '<sound name="eye" file="de/auge.ogg" />\n <sound name="eyes" file="de/auge.ogg" />\n'
    root = place(
        {
            f"{SOUNDS}/de.soundtheme": theme,
            f"{SOUNDS}/de/auge.ogg": tone(form="OGG"),
            f"{SOUNDS}/de/auge.wav": tone(),  # of the same name, and in no theme
            f"{SOUNDS}/sr@latin/oko.ogg": tone(form="OGG"),
        }
    )
    made = list(sounds({"ktuberling-data": root}))
    assert [(sound.name, sound.language, sound.label) for sound in made] == [
        ("de/auge-ogg", "de", "eye"),
        ("de/auge-wav", "de", ""),
        ("sr@latin/oko-ogg", "sr", ""),
    ]
    assert [len(sound.audio().samples) for sound in made] == [3200] * 3
