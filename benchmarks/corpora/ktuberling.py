"""ktuberling-data: names of parts of a potato face, of clothes and of toys in 23 languages.

`sounds/LANGUAGE.soundtheme` is XML: `<sound name="CONCEPT" file="LANGUAGE/FILE" />`. Several concepts may
share a file; a language and its scripts (`sr@latin`) share recordings.
"""

import re
from collections.abc import Iterator
from functools import partial

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import read

_SOUNDS = "usr/share/ktuberling/sounds"
_CONCEPT = re.compile(r'<sound\s+name="([^"]+)"\s+file="([^"]+)"')


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every recording, with the first concept that it names as its label."""
    root = folders["ktuberling-data"] / _SOUNDS
    concepts: dict[str, str] = {}
    for theme in sorted(root.glob("*.soundtheme")):
        for concept, file in _CONCEPT.findall(theme.read_text(encoding="utf-8")):
            concepts.setdefault(file, concept)
    for path in sorted(root.glob("*/*")):
        if path.suffix in {".ogg", ".opus", ".wav"}:
            file = path.relative_to(root).as_posix()
            yield Sound(
                file.replace(".", "-"),
                "ktuberling-data",
                partial(read, path),
                language=path.parent.name.partition("@")[0],
                speaker="",
                label=concepts.get(file, ""),
            )


RECIPE = Recipe(
    name="ktuberling",
    about="names of things in 23 languages",
    use="train",
    sources=(
        Source(
            Package("apt", "ktuberling-data", "4:22.12.3-1"),
            "fba44c875bfa31ea488dadd9263e87a4dcaea0bd47d28817f6c0dc6d2af970ed",
            "GPL-2.0-or-later",
        ),
    ),
    sounds=sounds,
    hours=0.53,
)
