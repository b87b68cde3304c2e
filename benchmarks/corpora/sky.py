"""beneath-a-steel-sky: an adventure with English speech.

`sky.dnr` begins with a count (u32); then entries of 8 bytes: number of the file (u16), place in `sky.dsk`
in 24 bits, size in 24 bits, all little-endian. The highest bit of the place says that the rest counts in 16
bytes; only the lowest 22 bits of the size count. Files from 50000 to 58999 are speech, 59000 to 59999 other
sounds, among them the spoken introduction; above that stand pictures. A file has a header of 22 bytes, then
RNC data that unpacks to 8-bit samples at 11025 Hz.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from earkit.benchmarks.corpora import rnc
from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.undecoded import read_unsigned_8_bit
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import Audio
from earkit.runtime.errors import DataError

_GAME = "usr/share/scummvm/beneath-a-steel-sky"
_RATE = 11_025
_HEADER = 22
_SPEECH = range(50_000, 60_000)


class Entry(NamedTuple):
    """Where a file stands in `sky.dsk`."""

    number: int
    offset: int
    size: int


def entries(table: bytes) -> list[Entry]:
    """Read `sky.dnr`."""
    count = int.from_bytes(table[:4], "little")
    if len(table) != 4 + 8 * count:
        raise DataError(f"sky.dnr has {len(table)} bytes for {count} entries: fetch the package again")
    found = []
    for place in range(4, len(table), 8):
        offset = int.from_bytes(table[place + 2 : place + 5], "little")
        found.append(
            Entry(
                int.from_bytes(table[place : place + 2], "little"),
                (offset & 0x7FFFFF) * (16 if offset >> 23 else 1),
                int.from_bytes(table[place + 5 : place + 8], "little") & 0x3FFFFF,
            )
        )
    return found


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every packed file among the speech."""
    game = folders["beneath-a-steel-sky"] / _GAME
    disk = game / "sky.dsk"
    with disk.open("rb") as file:
        for entry in sorted(entries((game / "sky.dnr").read_bytes())):
            file.seek(entry.offset + _HEADER)
            if entry.number in _SPEECH and file.read(4) == b"RNC\1":
                yield Sound(
                    str(entry.number), "beneath-a-steel-sky", partial(_read, disk, entry), language="en"
                )


def _read(disk: Path, entry: Entry) -> Audio:
    with disk.open("rb") as file:
        file.seek(entry.offset + _HEADER)
        packed = file.read(entry.size - _HEADER)
    return read_unsigned_8_bit(rnc.unpack(packed), _RATE, name=f"file {entry.number} of sky.dsk")


RECIPE = Recipe(
    name="sky",
    about="English actors in an adventure (Beneath a Steel Sky)",
    use="train",
    sources=(
        Source(
            Package("apt", "beneath-a-steel-sky", "0.0372-8"),
            "e2a25c880220c26a4dfd42904b878cc655afa1c72895f9c932befbd078622934",
            "Beneath a Steel Sky licence",
        ),
    ),
    sounds=sounds,
    hours=2.31,
    note="0.3 h of music, effects and pictures stand among the same files",
    speech_only=True,
)
