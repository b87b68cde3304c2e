"""Digits of three kinds of packages, none of which is in a corpus to train on."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora import asterisk, digits, tuxpaint

STAMPS = "usr/share/tuxpaint/stamps"


def test_digits_and_nothing_else(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    numbers = {f"digits/{name}.wav": tone() for name in ("0", "9", "10", "1F", "day-1")} | {"5.wav": tone()}
    folders = {
        package: place({f"{asterisk.SOUNDS}/voice/{name}": sound for name, sound in numbers.items()})
        for package in asterisk.VOICES
    }
    folders["tuxpaint-stamps-default"] = place(
        {
            f"{STAMPS}/symbols/math/7_desc_fr.ogg": tone(form="OGG"),
            f"{STAMPS}/symbols/math/operators/1_desc_fr.ogg": tone(form="OGG"),
            f"{STAMPS}/animals/7_desc_fr.ogg": tone(form="OGG"),
        }
    )
    mu_law = bytes(1600)  # 0.2 s, without a header as the real ones
    folders["saytime"] = place({f"usr/share/saytime/{name}.au": mu_law for name in ("3", "oh", "30")})
    made = list(digits.sounds(folders))
    assert [(sound.label, sound.speaker) for sound in made[:2]] == [
        ("0", "allison-smith"),
        ("9", "allison-smith"),
    ]
    assert len(made) == 2 * 8 + 1 + 1
    assert [(sound.name, sound.label, sound.language, sound.speaker) for sound in made[-2:]] == [
        ("tuxpaint-fr/7", "7", "fr", "tuxpaint-fr"),
        ("saytime/3", "3", "en", "david-dawson"),
    ]
    assert {len(sound.audio().samples) for sound in made} == {3200}
    spoken = {package: folders[package] for package in asterisk.VOICES}
    trained = [sound.name for sound in asterisk.sounds(spoken)]
    trained += [sound.name for sound in tuxpaint.sounds(folders)]
    assert sorted(trained) == sorted(
        [*(f"{package.removeprefix('asterisk-')}/5" for package in asterisk.VOICES), "fr/animals/7"]
    )
