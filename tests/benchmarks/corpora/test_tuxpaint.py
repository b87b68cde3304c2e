"""Stamps in a few languages."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.tuxpaint import read_texts, sounds

STAMPS = "usr/share/tuxpaint/stamps"


def test_names_of_things_but_no_digits(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    files = {
        f"{STAMPS}/animals/cat.txt": "A cat.\nfr.utf8=Un chat.\npt_BR.utf8=Um gato.\n",
        f"{STAMPS}/animals/cat_desc.ogg": tone(form="OGG"),
        f"{STAMPS}/animals/cat_desc_fr.ogg": tone(form="OGG"),
        f"{STAMPS}/animals/cat_desc_pt_BR.wav": tone(),
        f"{STAMPS}/animals/dog_desc_da.ogg.ogg": tone(form="OGG"),
        f"{STAMPS}/animals/cat.ogg": tone(form="OGG"),  # it mews
        f"{STAMPS}/symbols/math/3_desc_fr.ogg": tone(form="OGG"),
        f"{STAMPS}/symbols/math/operators/plus_desc_fr.ogg": tone(form="OGG"),
    }
    made = {sound.name: sound for sound in sounds({"tuxpaint-stamps-default": place(files)})}
    assert {name: (sound.language, sound.text) for name, sound in made.items()} == {
        "en/animals/cat": ("en", "A cat."),
        "fr/animals/cat": ("fr", "Un chat."),
        "pt_BR/animals/cat": ("pt", "Um gato."),
        "da/animals/dog": ("da", ""),
    }
    assert len(made["pt_BR/animals/cat"].audio().samples) == 3200


def test_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("One = 1 \nnot a line\nbe.utf8= Адзін = 1 \n".encode() + b"xx.utf8=\xff\n")
    assert read_texts(path) == {"en": "One = 1", "be": "Адзін = 1", "xx": "\ufffd"}
    path.write_text("")
    assert read_texts(path) == {"en": ""}
    assert read_texts(tmp_path / "none.txt") == {}
