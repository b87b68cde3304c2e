"""SoundFont 2: one file with the samples of many instruments.

RIFF of the form `sfbk` with three lists. `sdta` has the chunk `smpl`, all samples as 16-bit numbers. `pdta`
has tables of fixed records, each ended by a record that only closes the one before: `phdr` (presets, with
their number in General MIDI and their bank), `inst` (instruments) and `shdr` (samples: name, first and last
place in `smpl`, rate). A preset owns the `pbag` records from its own index to the next preset's, a bag owns
`pgen` records likewise; the generator 41 names an instrument. The same leads from `inst` by `ibag` and
`igen` and the generator 53 to a sample. Everything is little-endian.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from earkit.benchmarks.corpora.undecoded import read_16_bit
from earkit.runtime.audio import Audio
from earkit.runtime.errors import DataError

_PRESET = struct.Struct("<20sHHHIII")
_INSTRUMENT = struct.Struct("<20sH")
_BAG = struct.Struct("<HH")
_GENERATOR = struct.Struct("<HH")
_SAMPLE = struct.Struct("<20sIIIIIBbHH")
_NAMES_INSTRUMENT, _NAMES_SAMPLE = 41, 53
_IN_ROM = 0x8000


class Sample(NamedTuple):
    """A recording of one note, and the (bank, program) of each preset that plays it."""

    name: str
    offset: int
    """In the file, in bytes."""
    size: int
    rate: int
    presets: frozenset[tuple[int, int]]


def samples(path: Path) -> list[Sample]:
    """List the samples of a SoundFont in its order."""
    try:
        with path.open("rb") as file:
            chunks = dict(_chunks(file, path))
            tables = {
                name: _bytes(file, chunks[name])
                for name in (b"phdr", b"pbag", b"pgen", b"inst", b"ibag", b"igen", b"shdr")
            }
        played = _played(tables)
        start, length = chunks[b"smpl"]
        found = []
        for index, record in enumerate(list(_SAMPLE.iter_unpack(tables[b"shdr"]))[:-1]):
            name, first, end, _, _, rate, _, _, _, kind = record
            if kind & _IN_ROM or not first < end <= length // 2:
                continue
            presets = frozenset(played.get(index, ()))
            found.append(Sample(_text(name), start + 2 * first, 2 * (end - first), rate, presets))
    except (KeyError, IndexError, struct.error) as error:
        raise DataError(f"{path} is damaged or no SoundFont 2: fetch its package again") from error
    return found


def read_sample(path: Path, sample: Sample) -> Audio:
    """Decode one sample."""
    with path.open("rb") as file:
        return read_16_bit(_bytes(file, (sample.offset, sample.size)), sample.rate, name=sample.name)


def _chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name, place and size of each chunk within the lists."""
    if file.read(12)[8:] != b"sfbk":
        raise DataError(f"{path} is no SoundFont 2: fetch its package again")
    while head := file.read(8):
        name, size = struct.unpack("<4sI", head)
        if name == b"LIST":
            file.seek(4, 1)  # its form; its chunks follow
        else:
            yield name, (file.tell(), size)
            file.seek(size + size % 2, 1)


def _bytes(file: BinaryIO, chunk: tuple[int, int]) -> bytes:
    file.seek(chunk[0])
    return file.read(chunk[1])


def _played(tables: dict[bytes, bytes]) -> dict[int, set[tuple[int, int]]]:
    """(bank, program) of the presets that reach a sample, by its number."""
    presets = list(_PRESET.iter_unpack(tables[b"phdr"]))
    instruments = list(_INSTRUMENT.iter_unpack(tables[b"inst"]))
    of_preset = _named([preset[3] for preset in presets], tables[b"pbag"], tables[b"pgen"], _NAMES_INSTRUMENT)
    of_instrument = _named(
        [instrument[1] for instrument in instruments], tables[b"ibag"], tables[b"igen"], _NAMES_SAMPLE
    )
    played: dict[int, set[tuple[int, int]]] = {}
    for (_, program, bank, *_), reached in zip(presets, of_preset, strict=False):
        for instrument in reached:
            for sample in of_instrument[instrument]:
                played.setdefault(sample, set()).add((bank, program))
    return played


def _named(firsts: list[int], bags: bytes, generators: bytes, generator: int) -> list[list[int]]:
    """Give what each owner of bags names with one generator; the last owner only closes the one before."""
    starts = [bag[0] for bag in _BAG.iter_unpack(bags)]
    amounts = list(_GENERATOR.iter_unpack(generators))
    return [
        [amount for kind, amount in amounts[starts[first] : starts[end]] if kind == generator]
        for first, end in pairwise(firsts)
    ]


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("latin-1").strip()
