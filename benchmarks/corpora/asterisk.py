"""Asterisk's voice prompts: one professional speaker for each package, 8 kHz.

Below the folder of the voice: prompts, `letters/`, `phonetic/` (the spelling alphabet), `dictate/`,
`followme/`, `silence/` (digital silence), and `digits/`, which are for evaluation only (see `digits`). The
older packages hold GSM 06.10 in frames of 33 bytes, `.gsm`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.undecoded import read_gsm
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import Audio, read

SOUNDS = "usr/share/asterisk/sounds"
SHARE_ALIKE, ATTRIBUTION = "CC-BY-SA-3.0", "CC-BY-3.0"


class Voice(NamedTuple):
    """The one speaker of a package."""

    language: str
    speaker: str
    version: str
    sha256: str
    licence: str


VOICES = {
    "asterisk-core-sounds-en-wav": Voice(
        "en",
        "allison-smith",
        "1.6.1-1",
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        SHARE_ALIKE,
    ),
    "asterisk-core-sounds-es-wav": Voice(
        "es",
        "allison-smith",
        "1.6.1-1",
        "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
        SHARE_ALIKE,
    ),
    "asterisk-core-sounds-fr-wav": Voice(
        "fr",
        "june-wallack",
        "1.6.1-1",
        "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        SHARE_ALIKE,
    ),
    "asterisk-core-sounds-it-wav": Voice(
        "it",
        "carlo-flora",
        "1.6.1-1",
        "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        ATTRIBUTION,
    ),
    "asterisk-core-sounds-ru-wav": Voice(
        "ru",
        "ivrvoice-ru",
        "1.6.1-1",
        "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        ATTRIBUTION,
    ),
    "asterisk-prompt-es-co": Voice(
        "es",
        "july-jimenez",
        "0.20070403-2.1",
        "6702696e045514699e87dc8fb70f370717e5df91f821f7bec8dd0df1be008e83",
        "GPL-2.0-only",
    ),
    "asterisk-prompt-fr-armelle": Voice(
        "fr",
        "armelle-desjardins",
        "20070613-2.2",
        "162570b1a9b3512a98f06b89f60c7c17cf1b9b52297315adca9a4e5be728bea3",
        "BSD-3-Clause",
    ),
    "asterisk-prompt-it-menardi-wav": Voice(
        "it",
        "paola-dal-zot",
        "1:1.4.22+mm20110907-3.1",
        "3094530d98f8758ac275572d59624c41f60969fef883f34f4886d144f3dfeb21",
        SHARE_ALIKE,
    ),
}


def sources(prefix: str = "asterisk-") -> tuple[Source, ...]:
    """Give the packages whose names begin so."""
    return tuple(
        Source(Package("apt", name, voice.version), voice.sha256, voice.licence)
        for name, voice in VOICES.items()
        if name.startswith(prefix)
    )


def files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Each sound of a package: where it is, and its path below the folder of the voice."""
    root = folder / SOUNDS
    for path in sorted(root.glob("*/**/*")):
        if path.suffix in {".wav", ".gsm"} and not path.is_symlink():
            yield path, Path(*path.relative_to(root).parts[1:])


def decoder(path: Path) -> Callable[[], Audio]:
    """Give what decodes a file of either kind."""
    return partial(read_gsm if path.suffix == ".gsm" else read, path)


def sounds(folders: Folders) -> Iterator[Sound]:
    """Everything but the digits."""
    for package, folder in folders.items():
        for path, below in files(folder):
            if below.parts[0] != "digits":
                yield Sound(
                    f"{package.removeprefix('asterisk-')}/{below.with_suffix('').as_posix()}",
                    package,
                    decoder(path),
                    language=VOICES[package].language,
                    speaker=VOICES[package].speaker,
                )


CORE = Recipe(
    name="asterisk-core",
    about="telephone prompts in English, Spanish, French, Italian and Russian, four speakers",
    use="train",
    sources=sources("asterisk-core-"),
    sounds=sounds,
    hours=2.18,
    note="0.12 h of digits are for evaluation only; the folders of silence hold 0.08 h of nothing",
)
PROMPTS = Recipe(
    name="asterisk-prompts",
    about="telephone prompts in Spanish, French and Italian, three more speakers",
    use="train",
    sources=sources("asterisk-prompt-"),
    sounds=sounds,
    hours=0.83,
    note="0.08 h of digits are for evaluation only; the folders of silence hold nothing",
)
