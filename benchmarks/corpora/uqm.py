"""The Ur-Quan Masters: 27 characters of a game, with transcripts; not free, so only on demand.

Both packages hold a zip (`.uqm`), which is read in place. `3dovoice/CHARACTER/LINE.ogg` is speech.
Transcripts are `CHARACTER.txt` beside it where they differ from those of the game,
`base/comm/CHARACTER/CHARACTER.txt`: a line `#(NAME)` with, behind it, the name of the sound, then what is
said, up to the next `#`.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.zipped import read_member
from earkit.benchmarks.packages import Package

_CONTENT = "usr/share/games/uqm/content"
_VOICES = f"{_CONTENT}/addons/uqm-0.8.0-voice.uqm"
_TEXTS = f"{_CONTENT}/packages/uqm-0.8.0-content.uqm"
_LICENCE = "CC-BY-NC-SA-2.5"
_SPOKEN = re.compile(r"^#\([^)]*\)[ \t]+(\S+\.ogg)[^\n]*\n([^#]*)", re.MULTILINE)
_SAME_PERSON = {"starbase": "commander", "yehatrebels": "yehat"}


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every line of every character."""
    voices, texts = folders["uqm-voice"] / _VOICES, folders["uqm-content"] / _TEXTS
    with zipfile.ZipFile(voices) as opened, zipfile.ZipFile(texts) as game:
        members = sorted(name for name in opened.namelist() if name.endswith(".ogg"))
        said: dict[str, dict[str, str]] = {}
        for member in members:
            _, character, file = PurePosixPath(member).parts
            if character not in said:
                said[character] = _transcripts(character, opened, game)
            yield Sound(
                f"{character}/{file.removesuffix('.ogg')}",
                "uqm-voice",
                partial(read_member, voices, member),
                language="en",
                speaker=f"uqm-{_SAME_PERSON.get(character, character)}",
                text=said[character].get(file, ""),
                label=character,
                split="test" if zlib.crc32(file.encode()) % 5 == 0 else "train",
            )


def _transcripts(character: str, *archives: zipfile.ZipFile) -> dict[str, str]:
    """Give what is said in each file, by the first archive that tells it."""
    said: dict[str, str] = {}
    for archive, folder in zip(archives, ("3dovoice", "base/comm"), strict=True):
        name = f"{folder}/{character}/{character}.txt"
        if name in archive.namelist():
            found = _SPOKEN.findall(archive.read(name).decode("utf-8", errors="replace").replace("\r", ""))
            said = {file: " ".join(text.split()) for file, text in found} | said
    return said


RECIPE = Recipe(
    name="uqm",
    about="27 characters of The Ur-Quan Masters: character identification, transcripts",
    use="evaluation",
    sources=(
        Source(
            Package("apt", "uqm-voice", "0.8.0+deb-1"),
            "60c5fe2b4bc2b3be6d075e83bba2f5409c8e5d1e0af5db615eb96dc230c1057b",
            _LICENCE,
        ),
        Source(
            Package("apt", "uqm-content", "0.8.0+deb-1"),
            "95604ef98c7bea6b599d94a3b14a92749a7da3e7a03be02adc5ed94cdebcf019",
            _LICENCE,
        ),
    ),
    sounds=sounds,
    hours=11.42,
    free=False,
)
