"""Patches of the Gravis Ultrasound: the samples of one instrument in a file.

Headers of 129, 63 and 47 bytes for file, instrument and layer; the number of samples is byte 198 of them all.
Then for each sample a header of 96 bytes, with the size of its data at byte 8 (u32), the rate at 20 (u16) and
the modes at 55 (bit 0: 16 bits, bit 1: unsigned), and the data. Everything is little-endian.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from earkit.benchmarks.corpora.undecoded import read_16_bit
from earkit.runtime.audio import Audio
from earkit.runtime.errors import DataError

_MAGIC = (b"GF1PATCH110\0", b"GF1PATCH100\0")
_HEADERS, _SAMPLE_HEADER = 129 + 63 + 47, 96
_COUNT_AT = 129 + 63 + 6
_SIZE_AT, _RATE_AT, _MODES_AT = 8, 20, 55


class Sample(NamedTuple):
    """A recording of one note."""

    offset: int
    size: int
    rate: int
    wide: bool
    """16 bits rather than 8."""
    unsigned: bool


def samples(path: Path) -> list[Sample]:
    """List the samples of a patch."""
    patch = path.read_bytes()
    found, offset = [], _HEADERS
    try:
        if not patch.startswith(_MAGIC):
            raise IndexError  # noqa: TRY301 - joins the damage below
        for _ in range(patch[_COUNT_AT]):
            (size,) = struct.unpack_from("<I", patch, offset + _SIZE_AT)
            (rate,) = struct.unpack_from("<H", patch, offset + _RATE_AT)
            modes = patch[offset + _MODES_AT]
            start = offset + _SAMPLE_HEADER
            found.append(Sample(start, size, rate, bool(modes & 1), bool(modes & 2)))
            offset = start + size
        if offset > len(patch):
            raise IndexError  # noqa: TRY301 - the same
    except (IndexError, struct.error) as error:
        raise DataError(f"{path} is damaged or no Ultrasound patch: fetch its package again") from error
    return found


def read_sample(path: Path, sample: Sample) -> Audio:
    """Decode one sample."""
    data = path.read_bytes()[sample.offset : sample.offset + sample.size]
    if not sample.wide:
        wide = np.frombuffer(data, np.uint8).astype("<u2") << 8
    else:
        wide = np.frombuffer(data[: len(data) // 2 * 2], "<u2")
    if sample.unsigned:
        wide = wide ^ 0x8000
    return read_16_bit(wide.astype("<u2").tobytes(), sample.rate, name=path.name)
