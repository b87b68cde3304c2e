"""drascula: an adventure with English speech, `NUMBER.ALS`: 8-bit samples at 11025 Hz without a header."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.undecoded import read_unsigned_8_bit
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import Audio

_GAME = "usr/share/scummvm/drascula/en"
_RATE = 11_025


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every file of speech."""
    for path in sorted((folders["drascula"] / _GAME).glob("*.ALS")):
        yield Sound(path.stem, "drascula", partial(_read, path), language="en")


def _read(path: Path) -> Audio:
    return read_unsigned_8_bit(path.read_bytes(), _RATE, name=path.name)


RECIPE = Recipe(
    name="drascula",
    about="English actors in an adventure (Drascula)",
    use="train",
    sources=(
        Source(
            Package("apt", "drascula", "1.0+ds4-2"),
            "ed4af8e2d41ad446e2f3b73533daa1804e2f13f62f596c0b02b8dc39544f22b4",
            "Drascula licence",
        ),
    ),
    sounds=sounds,
    hours=0.81,
)
