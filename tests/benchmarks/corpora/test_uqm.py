"""Two characters with their transcripts."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.uqm import sounds

CONTENT = "usr/share/games/uqm/content"
OWN = "#(HI)\torz-000.ogg\r\nHello *campers*.\r\nWe are Orz!\r\n\r\n#(BYE)\torz-001.ogg extra\nBye.\n"
GAME = "#(HI) starbase-000.ogg\nWelcome.\n\n#(SILENT)\nNo sound.\n"


def test_characters(
    place: Callable[..., Path], tone: Callable[..., bytes], zipped: Callable[..., bytes]
) -> None:
    ogg = tone(form="OGG")
    names = ("orz/orz-000", "orz/orz-001", "starbase/starbase-000", "starbase/starbase-001")
    voices = zipped({f"3dovoice/{name}.ogg": ogg for name in names} | {"3dovoice/orz/orz.txt": OWN})
    game = zipped(
        {
            "base/comm/orz/orz.txt": "#(HI)\torz-000.ogg\nAn older text.\n",
            "base/comm/starbase/starbase.txt": GAME,
        }
    )
    folders = {
        "uqm-voice": place({f"{CONTENT}/addons/uqm-0.8.0-voice.uqm": voices}),
        "uqm-content": place({f"{CONTENT}/packages/uqm-0.8.0-content.uqm": game}),
    }
    made = list(sounds(folders))
    assert [(sound.name, sound.label, sound.speaker, sound.text) for sound in made] == [
        ("orz/orz-000", "orz", "uqm-orz", "Hello *campers*. We are Orz!"),
        ("orz/orz-001", "orz", "uqm-orz", "Bye."),
        ("starbase/starbase-000", "starbase", "uqm-commander", "Welcome."),
        ("starbase/starbase-001", "starbase", "uqm-commander", ""),
    ]
    assert [len(sound.audio().samples) for sound in made] == [3200] * 4
    assert {sound.split for sound in made} <= {"train", "test"}
