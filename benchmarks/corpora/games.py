"""Shouts, orders and reports of four strategy games; much of what lies beside them is no speech.

hedgewars-data: `Sounds/voices/VOICE/WORD.ogg`, a language behind an underscore (`Default_ru`).
megaglest-data: `sounds/*.wav` of each unit. warzone2100-data: `base.wz`, a zip with `audio/**/*.ogg` and
`sequenceaudio/*.ogg`; it is read in place. boswars-data: `units/**/*.wav` and the tutorial's voice.
"""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.zipped import read_member
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import read

_GAMES = "usr/share/games"
_ENGLISH = frozenset({"British", "Classic", "Default", "HillBilly", "Mobster", "Pirate", "Singer", "Surfer"})


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every sound that could be speech."""
    yield from _hedgewars(folders["hedgewars-data"] / _GAMES / "hedgewars/Data/Sounds/voices")
    yield from _warzone(folders["warzone2100-data"] / _GAMES / "warzone2100/base.wz")
    for package in ("megaglest-data", "boswars-data"):
        root = folders[package] / _GAMES / package.removesuffix("-data")
        for path in sorted(root.rglob("*.wav")):
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(root.parent).with_suffix("")
                yield Sound(name.as_posix(), package, partial(read, path), language="en")


def _hedgewars(voices: Path) -> Iterator[Sound]:
    for path in sorted(voices.glob("*/*.ogg")):
        voice, _, language = path.parent.name.partition("_")
        yield Sound(
            f"hedgewars/{path.parent.name}/{path.stem}",
            "hedgewars-data",
            partial(read, path),
            language=language or ("en" if voice in _ENGLISH else ""),
            speaker=f"hedgewars-{path.parent.name}",
            label=path.stem,
        )


def _warzone(archive: Path) -> Iterator[Sound]:
    with zipfile.ZipFile(archive) as opened:
        members = sorted(name for name in opened.namelist() if name.endswith(".ogg"))
    for member in members:
        if member.startswith(("audio/", "sequenceaudio/")):
            yield Sound(
                f"warzone2100/{member.removesuffix('.ogg')}",
                "warzone2100-data",
                partial(read_member, archive, member),
                language="en",
            )


RECIPE = Recipe(
    name="games",
    about="shouted phrases of four games, mostly English",
    use="train",
    sources=(
        Source(
            Package("apt", "hedgewars-data", "1.0.2-6"),
            "722225903a72604403e6e0026e40e9a6953f47a74d94efc5f55504bc05bb4761",
            "GFDL-1.3",
        ),
        Source(
            Package("apt", "warzone2100-data", "4.3.3-3"),
            "53ad292569e0bf9d16de1642d13629f29ed5dfb68896787e4c65ac60edc07d3d",
            "GPL-2.0-or-later",
        ),
        Source(
            Package("apt", "megaglest-data", "3.13.0-3"),
            "ed4783d9fc78e201a548b266f7c30325eb16cfd58a20bf4597dd6e622f84a07e",
            "CC-BY-SA-3.0",
        ),
        Source(
            Package("apt", "boswars-data", "2.7+svn160110-5"),
            "36098b478576810a786eb9d75b54e45f4d5fa507332fa8bf3360c14814ecc016",
            "GPL-2.0-or-later",
        ),
    ),
    sounds=sounds,
    hours=0.9,
    note="the hours are a rough count of the voices before a detector chose",
    speech_only=True,
)
