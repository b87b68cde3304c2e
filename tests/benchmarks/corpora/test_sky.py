"""`sky.dnr` and `sky.dsk` of three files."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.corpora.sky import Entry, entries, sounds
from earkit.runtime.errors import DataError

GAME = "usr/share/scummvm/beneath-a-steel-sky"


def record(number: int, offset: int, size: int, flags: int = 0, sixteens: int = 0) -> bytes:
    return (
        struct.pack("<H", number)
        + (offset | sixteens << 23).to_bytes(3, "little")
        + (size | flags << 22).to_bytes(3, "little")
    )


def test_entries_by_hand() -> None:
    table = struct.pack("<I", 2) + record(50001, 7, 300, flags=2) + record(9, 5, 0x3FFFFF, sixteens=1)
    assert entries(table) == [Entry(50001, 7, 300), Entry(9, 80, 0x3FFFFF)]
    with pytest.raises(DataError, match="for 2 entries"):
        entries(table[:-1])


def test_speech_is_unpacked(
    place: Callable[..., Path], pack: Callable[..., bytes], tone: Callable[..., bytes]
) -> None:
    wave = np.round(128 + 50 * np.sin(np.arange(3000) / 9)).astype(np.uint8)
    packed = pack([[(wave.tobytes(), 0, 0)]])
    header = bytes(22)
    files = {50001: header + packed, 50002: header + b"no such packing", 60001: header + packed}
    disk, table = b"", struct.pack("<I", len(files))
    for number, content in files.items():
        disk += bytes(-len(disk) % 16)
        table += record(number, len(disk) // 16, len(content), sixteens=1)
        disk += content
    root = place({f"{GAME}/sky.dnr": table, f"{GAME}/sky.dsk": disk})
    (sound,) = sounds({"beneath-a-steel-sky": root})
    assert (sound.name, sound.language) == ("50001", "en")
    audio = sound.audio()
    assert audio.source_rate == 11025
    assert len(audio.samples) == pytest.approx(3000 * 16000 / 11025, abs=2)
    assert 0.3 < np.abs(audio.samples[1000:3000]).max() < 0.45  # 50 of 128
