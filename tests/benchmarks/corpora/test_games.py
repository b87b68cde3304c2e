"""A few sounds of four games."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.games import sounds

GAMES = "usr/share/games"


def test_what_could_be_speech(
    place: Callable[..., Path], tone: Callable[..., bytes], zipped: Callable[..., bytes]
) -> None:
    voices, ogg = f"{GAMES}/hedgewars/Data/Sounds/voices", tone(form="OGG")
    wz = zipped(
        {"audio/nexus/laugh.ogg": ogg, "sequenceaudio/a.ogg": ogg, "music/b.ogg": ogg, "audio/c": b""}
    )
    unit = f"{GAMES}/megaglest/techs/units/archer/sounds"
    folders = {
        "hedgewars-data": place(
            {
                f"{voices}/Default_ru/Hello.ogg": ogg,
                f"{voices}/British/Hello.ogg": ogg,
                f"{voices}/Russian/Hello.ogg": ogg,
                f"{GAMES}/hedgewars/Data/Sounds/boom.ogg": ogg,
            }
        ),
        "warzone2100-data": place({f"{GAMES}/warzone2100/base.wz": wz}),
        "megaglest-data": place({f"{unit}/archer_ack1.wav": tone(), f"{unit}/archer.xml": "<a/>"}),
        "boswars-data": place({f"{GAMES}/boswars/units/tank/tank.ready.wav": tone()}),
    }
    made = {
        sound.name: (sound.language, sound.speaker)
        for sound in sounds(folders)
        if len(sound.audio().samples) == 3200
    }
    assert made == {
        "hedgewars/British/Hello": ("en", "hedgewars-British"),
        "hedgewars/Default_ru/Hello": ("ru", "hedgewars-Default_ru"),
        "hedgewars/Russian/Hello": ("", "hedgewars-Russian"),  # an accent or a language
        "warzone2100/audio/nexus/laugh": ("en", ""),
        "warzone2100/sequenceaudio/a": ("en", ""),
        "megaglest/techs/units/archer/sounds/archer_ack1": ("en", ""),
        "boswars/units/tank/tank.ready": ("en", ""),
    }
