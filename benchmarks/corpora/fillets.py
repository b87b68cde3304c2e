"""fillets-ng: what two fish say to each other, in Czech and in Dutch.

`sound/LEVEL/LANGUAGE/NAME.ogg`. `script/LEVEL/*dialogs_LANGUAGE.lua` in the package fillets-ng-data has
pairs of lines: `dialogId("NAME", "FONT", "English text")`, then `dialogStr("text")`. The small fish talks
in `font_small`, the big one in `font_big`; whoever else talks has other fonts.
"""

import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import read

_GAME = "usr/share/games/fillets-ng"
_LICENCE = "GPL-2.0-or-later"
_VERSION = "1.0.1-1.1"
_LEADS = {"font_small": "small-fish", "font_big": "big-fish"}
_STRING = r'"((?:[^"\\]|\\.)*)"'
_DIALOG = re.compile(rf"dialogId\({_STRING}, *{_STRING}, *{_STRING}\)\s*dialogStr\({_STRING}\)")


class Line(NamedTuple):
    """What is said under a name, and in which font it is written."""

    font: str
    text: str


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every spoken line of both languages."""
    scripts = folders["fillets-ng-data"] / _GAME / "script"
    for language in ("cs", "nl"):
        package = f"fillets-ng-data-{language}"
        root = folders[package] / _GAME / "sound"
        for path in sorted(root.rglob(f"{language}/*.ogg")):
            level = path.relative_to(root).parent.parent
            line = read_dialogs(scripts / level, language).get(path.stem, Line("", ""))
            lead = _LEADS.get(line.font)
            yield Sound(
                f"{language}/{level.as_posix()}/{path.stem}",
                package,
                partial(read, path),
                language=language,
                speaker=f"fillets-{language}-{lead}" if lead else "",
                text=line.text,
            )


@cache
def read_dialogs(level: Path, language: str) -> dict[str, Line]:
    """Read the lines of a level by their names; those of a level without scripts stand above it."""
    lines = {}
    folder = level if level.is_dir() else level.parent
    for script in sorted(folder.glob(f"*dialogs_{language}.lua")):
        for name, font, _, spoken in _DIALOG.findall(script.read_text(encoding="utf-8", errors="replace")):
            lines[name] = Line(font, spoken.replace('\\"', '"').replace("\\\n", "\n"))
    return lines


RECIPE = Recipe(
    name="fillets",
    about="Czech and Dutch dialogues, two leads each",
    use="train",
    sources=(
        Source(
            Package("apt", "fillets-ng-data-cs", _VERSION),
            "3ecef99b9456f1c80c9625c6f2418642b52d58e7167a46bad7a412db17991b14",
            _LICENCE,
        ),
        Source(
            Package("apt", "fillets-ng-data-nl", _VERSION),
            "afb4443fda9ab507dee578b75be857d121718a1cd6017a474f30e0eb13dc9d10",
            _LICENCE,
        ),
        Source(
            Package("apt", "fillets-ng-data", _VERSION),
            "25de89afd8b1adf7bcace8290248a6a22c89cd42300317e69000e162c032cf84",
            _LICENCE,
        ),
    ),
    sounds=sounds,
    hours=3.36,
)
