"""Dialogues of two levels."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.fillets import sounds

GAME = "usr/share/games/fillets-ng"
CITY = r"""
dialogId("vit-m-one", "font_small", "Good day.")
dialogStr("Dobrý \"den\".")

dialogId("vit-v-two", "font_big", "Never recorded.")
dialogStr("Nic.")

dialogId("vit-hs-three", "font_statue", "Citizens!")
dialogStr("Občané!")
"""


def test_leads_and_transcripts(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    ogg = tone(form="OGG")
    folders = {
        "fillets-ng-data-cs": place(
            {
                f"{GAME}/sound/city/cs/{name}.ogg": ogg
                for name in ("vit-m-one", "vit-hs-three", "vit-x-unwritten")
            }
            | {f"{GAME}/sound/share/jokes/cs/j-v-1.ogg": ogg, f"{GAME}/sound/city/splash.ogg": ogg}
        ),
        "fillets-ng-data-nl": place({f"{GAME}/sound/city/nl/vit-m-one.ogg": ogg}),
        "fillets-ng-data": place(
            {
                f"{GAME}/script/city/dialogs_cs.lua": CITY,
                f"{GAME}/script/share/joke_dialogs_cs.lua": 'dialogId("j-v-1", "font_big", "Ha.")\n'
                'dialogStr("Cha.")\n',
            }
        ),
    }
    made = {
        sound.name: (sound.package[-2:], sound.speaker, sound.text)
        for sound in sounds(folders)
        if len(sound.audio().samples) == 3200
    }
    assert made == {
        "cs/city/vit-m-one": ("cs", "fillets-cs-small-fish", 'Dobrý "den".'),
        "cs/city/vit-hs-three": ("cs", "", "Občané!"),
        "cs/city/vit-x-unwritten": ("cs", "", ""),
        "cs/share/jokes/j-v-1": ("cs", "fillets-cs-big-fish", "Cha."),
        "nl/city/vit-m-one": ("nl", "", ""),
    }
