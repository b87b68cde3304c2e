"""tuxpaint-stamps-default: names of stamps, read aloud by volunteers in many languages.

`stamps/**/NAME_desc_LANGUAGE.ogg` is a name, `NAME_desc.ogg` the English one; a few are wav. The text
stands in `NAME.txt`: the first line in English, then `LANGUAGE.utf8=TEXT`. What lies under `symbols/math`
is for evaluation only (see `digits`).
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import read

STAMPS = "usr/share/tuxpaint/stamps"
MATH = PurePosixPath("symbols/math")
SOURCE = Source(
    Package("apt", "tuxpaint-stamps-default", "2022.06.04-1"),
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    "GPL-2.0-only",
)
_NAME = re.compile(r"(?P<stamp>.+)_desc(?:_(?P<language>[a-zA-Z_]+))?")


def recordings(folders: Folders) -> Iterator[tuple[Path, PurePosixPath, str]]:
    """Each spoken name: its file, the stamp below the folder of stamps, and the language."""
    root = folders["tuxpaint-stamps-default"] / STAMPS
    for path in sorted(root.rglob("*_desc*")):
        matched = _NAME.fullmatch(path.name.partition(".")[0])
        if matched and path.suffix in {".ogg", ".wav"}:
            stamp = PurePosixPath(path.relative_to(root).with_name(matched["stamp"]))
            yield path, stamp, matched["language"] or "en"


def sounds(folders: Folders) -> Iterator[Sound]:
    """Everything but the digits and the operators."""
    root = folders["tuxpaint-stamps-default"] / STAMPS
    texts: dict[PurePosixPath, Mapping[str, str]] = {}
    for path, stamp, language in recordings(folders):
        if MATH not in stamp.parents:
            if stamp not in texts:
                texts[stamp] = read_texts(root / f"{stamp}.txt")
            yield Sound(
                f"{language}/{stamp}",
                "tuxpaint-stamps-default",
                partial(read, path),
                language=language.partition("_")[0],
                text=texts[stamp].get(language, ""),
            )


def read_texts(path: Path) -> dict[str, str]:
    """Read what a stamp is called, by language; nothing where there is no such file."""
    if not path.is_file():
        return {}
    first, *others = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    texts = {"en": first.strip()}
    for line in others:
        language, utf8, text = line.partition(".utf8=")
        if utf8:
            texts[language] = text.strip()
    return texts


RECIPE = Recipe(
    name="tuxpaint",
    about="names of things in French, Romanian, Russian, Catalan, Bulgarian and eight more languages",
    use="train",
    sources=(SOURCE,),
    sounds=sounds,
    hours=2.62,
)
