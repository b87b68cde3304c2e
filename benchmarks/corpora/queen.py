"""flight-of-the-amazon-queen: an adventure with English speech.

`queen.1c` has a count (u16) at byte 13, then entries of 21 bytes: name (12 bytes, ended by a zero), bundle
(u8), place (u32) and size (u32), all big-endian. Those named `.SB` are MP3 at 11025 Hz: `020006J1.SB` is
the first part of line 0006 in dialogue 02, said by Joe (J) or by the person he talks to (P).
"""

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import Audio, read
from earkit.runtime.errors import DataError

_FILE = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
_COUNT_AT = 13
_ENTRY = struct.Struct(">12sBII")


class Entry(NamedTuple):
    """Where a file stands in `queen.1c`."""

    name: str
    offset: int
    size: int


def entries(bundle: bytes) -> list[Entry]:
    """Read the table at the beginning of `queen.1c`."""
    (count,) = struct.unpack_from(">H", bundle, _COUNT_AT)
    start = _COUNT_AT + 2
    found = []
    for name, _, offset, size in _ENTRY.iter_unpack(bundle[start : start + count * _ENTRY.size]):
        if offset + size > len(bundle):
            raise DataError(f"queen.1c ends before its file {name!r}: fetch the package again")
        found.append(Entry(name.partition(b"\0")[0].decode("ascii"), offset, size))
    return found


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every file of speech."""
    path = folders["flight-of-the-amazon-queen"] / _FILE
    for entry in sorted(entries(path.read_bytes())):
        stem, _, suffix = entry.name.rpartition(".")
        if suffix == "SB":
            yield Sound(
                stem,
                "flight-of-the-amazon-queen",
                partial(_read, path, entry),
                language="en",
                speaker="queen-joe" if stem[6] == "J" else "",
            )


def _read(path: Path, entry: Entry) -> Audio:
    with path.open("rb") as file:
        file.seek(entry.offset)
        packed = file.read(entry.size)
    with _stderr_closed():
        return read(packed, name=entry.name)


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep the decoder from complaining, past Python, of frames that refer to ones cut away."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


RECIPE = Recipe(
    name="queen",
    about="English actors in an adventure (Flight of the Amazon Queen)",
    use="train",
    sources=(
        Source(
            Package("apt", "flight-of-the-amazon-queen", "1.0.0-9"),
            "40c08fd258d6fe95c46c1eaf5e9137f84ba330657995a281bd887c94a560a0f1",
            "Flight of the Amazon Queen licence",
        ),
    ),
    sounds=sounds,
    hours=4.64,
)
