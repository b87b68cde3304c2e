"""kajongg: the calls of a mahjong game in four English and four German voices.

`voices/SLOT/WORD.ogg` is English, `voices/de/SLOT/WORD.ogg` German. A word has the same file name in all
voices: `c5` is the five of characters, `we` the east wind. One German voice lacks one word.
"""

from collections.abc import Iterator
from functools import partial

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import read

_VOICES = "usr/share/kajongg/voices"


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every word of every voice."""
    root = folders["kajongg"] / _VOICES
    for path in sorted(root.rglob("*.ogg")):
        language = "de" if path.parent.parent.name == "de" else "en"
        speaker = f"kajongg-{language}-{path.parent.name}"
        yield Sound(
            f"{language}/{path.parent.name}/{path.stem}",
            "kajongg",
            partial(read, path),
            language=language,
            speaker=speaker,
            label=path.stem,
        )


RECIPE = Recipe(
    name="kajongg",
    about="42 English and 41 German words in four voices each: spoken-word retrieval across speakers",
    use="evaluation",
    sources=(
        Source(
            Package("apt", "kajongg", "4:22.12.3-1"),
            "be0a9cc0f9a97064ffa0ab01133f55e021c7c58f9869857431bf1ca951dadbaf",
            "GPL-2.0-or-later",
        ),
    ),
    sounds=sounds,
    hours=0.08,
)
