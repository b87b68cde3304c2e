"""A patch of three samples, written field by field."""

import struct
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.corpora.gus_patch import read_sample, samples
from earkit.runtime.errors import DataError


def patch(*held: tuple[bytes, int, int]) -> bytes:
    """Samples of (data, rate, modes)."""
    file = struct.pack(
        "<12s10s60sBBBHHI36x", b"GF1PATCH110\0", b"ID#000002\0", b"text", 1, 14, 0, len(held), 127, 0
    )
    instrument = struct.pack("<H16sIB40x", 0, b"Organ", 0, 1)
    layer = struct.pack("<BBIB40x", 0, 0, 0, len(held))
    assert [len(part) for part in (file, instrument, layer)] == [129, 63, 47]
    made = file + instrument + layer
    for data, rate, modes in held:
        head = struct.pack(
            "<7sBIIIHIIIhB6s6s6sBhH36x",
            b"wave",
            0,
            len(data),
            0,
            0,
            rate,
            1,
            2,
            3,
            0,
            7,
            b"",
            b"",
            b"",
            modes,
            0,
            0,
        )
        assert len(head) == 96
        made += head + data
    return made


def test_all_forms_of_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.pat"
    signed = np.array([0, 16384, -32768, 256], "<i2")
    path.write_bytes(
        patch(
            (signed.tobytes(), 16_000, 1),
            ((signed.astype("<i4") + 32768).astype("<u2").tobytes(), 16_000, 3),
            (bytes([128, 192, 0, 129]), 16_000, 2 | 32),  # 8 bits, unsigned; 32: an envelope
            (np.array([0, 64, -128, 1], "i1").tobytes(), 16_000, 0),
        )
    )
    found = samples(path)
    assert [sample.rate for sample in found] == [16_000] * 4
    for sample in found:
        assert read_sample(path, sample).samples.tolist() == [0.0, 0.5, -1.0, 256 / 32768]


@pytest.mark.parametrize("cut", [0, 50, 239, 300, 336])
def test_damage_is_told(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.pat"
    path.write_bytes(patch((b"12", 16_000, 1))[:cut])
    with pytest.raises(DataError, match=r"a\.pat is damaged"):
        samples(path)
