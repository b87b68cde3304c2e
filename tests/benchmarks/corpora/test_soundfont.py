"""A SoundFont of three samples, written field by field."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.corpora.soundfont import read_sample, samples
from earkit.runtime.errors import DataError


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def soundfont(
    presets: Sequence[tuple[int, int, Sequence[int]]], instruments: Sequence[Sequence[int]]
) -> bytes:
    """Presets (bank, program, instruments) of instruments (samples); each names one thing in each bag."""
    phdr = pbag = pgen = inst = ibag = igen = b""
    for bank, program, named in [*presets, (0, 0, ())]:
        phdr += struct.pack("<20sHHHIII", b"preset", program, bank, len(pbag) // 4, 0, 0, 0)
        for index in named:
            pbag += struct.pack("<HH", len(pgen) // 4, 0)
            pgen += struct.pack("<HH", 17, 3) + struct.pack("<HH", 41, index)  # 17: panned
    for held in [*instruments, ()]:
        inst += struct.pack("<20sH", b"instrument", len(ibag) // 4)
        for index in held:
            ibag += struct.pack("<HH", len(igen) // 4, 0)
            igen += struct.pack("<HH", 53, index)
    pbag, ibag = pbag + struct.pack("<HH", len(pgen) // 4, 0), ibag + struct.pack("<HH", len(igen) // 4, 0)
    shdr = b"".join(
        struct.pack("<20sIIIIIBbHH", name, start, end, 0, 0, rate, 60, 0, 0, kind)
        for name, start, end, rate, kind in [
            (b"first\0junk", 0, 100, 16_000, 1),
            (b"in ROM", 0, 100, 16_000, 0x8001),
            (b"second", 146, 346, 8000, 1),
            (b"past the end", 300, 999, 8000, 1),
            (b"EOS", 0, 0, 0, 0),
        ]
    )
    wave = np.arange(400, dtype="<i2") * 64
    tables = {
        b"phdr": phdr,
        b"pbag": pbag,
        b"pgen": pgen,
        b"inst": inst,
        b"ibag": ibag,
        b"igen": igen,
        b"shdr": shdr,
    }
    body = b"sfbk" + chunk(b"LIST", b"INFO" + chunk(b"isng", b"odd"))
    body += chunk(b"LIST", b"sdta" + chunk(b"smpl", wave.tobytes()))
    body += chunk(b"LIST", b"pdta" + b"".join(chunk(name, table) for name, table in tables.items()))
    return chunk(b"RIFF", body)


def test_samples_and_who_plays_them(tmp_path: Path) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(soundfont([(0, 5, [1]), (128, 0, [0, 1]), (0, 9, [])], [[2], [0, 2]]))
    first, second = samples(path)
    assert (first.name, first.rate, first.presets) == ("first", 16_000, {(0, 5), (128, 0)})
    assert (second.name, second.rate, second.presets) == ("second", 8000, {(0, 5), (128, 0)})
    assert read_sample(path, first).samples.tolist() == (np.arange(100) * 64 / 32768).tolist()
    assert len(read_sample(path, second).samples) == 400


def test_an_instrument_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(soundfont([(0, 5, [1]), (0, 70, [0])], [[2], [0]]))
    first, second = samples(path)
    assert (first.presets, second.presets) == ({(0, 5)}, {(0, 70)})


@pytest.mark.parametrize("damage", [b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0sfbk", b"RIFF"])
def test_damage_is_told(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(damage)
    with pytest.raises(DataError, match=r"a\.sf2 is"):
        samples(path)
