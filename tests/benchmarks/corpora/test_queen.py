"""`queen.1c` of four files."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks.corpora.queen import Entry, entries, sounds
from earkit.runtime.errors import AudioError, DataError

FILE = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"


def bundle(files: dict[str, bytes]) -> bytes:
    offset = 15 + 21 * len(files)
    head, data = b"QTBLCEM10\0\0\0\1" + struct.pack(">H", len(files)), b""
    for name, content in files.items():
        head += struct.pack(">12sBII", name.encode(), 1, offset + len(data), len(content))
        data += content
    return head + data


def test_entries_by_hand() -> None:
    made = bundle({"A.SB": b"12345", "B.PCX": b"678"})
    assert entries(made) == [Entry("A.SB", 57, 5), Entry("B.PCX", 62, 3)]
    with pytest.raises(DataError, match=r"ends before its file b'B\.PCX"):
        entries(made[:-1])


def test_speech(place: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.2, 33_075), 11_025, format="MP3")
    mp3 = file.getvalue()
    torn = mp3[mp3.index(mp3[:2], len(mp3) // 2) :]  # its first frame needs bits of the one before
    with soundfile.SoundFile(io.BytesIO(torn)) as sound:
        sound.read()
    assert "part2_3_length" in capfd.readouterr().err  # so the decoder complains
    made = bundle({"020006P1.SB": torn, "020006J1.SB": mp3, "ROOM.PCX": b"x"})
    first, second = sounds({"flight-of-the-amazon-queen": place({FILE: made})})
    assert [first.name, second.name] == ["020006J1", "020006P1"]
    assert [first.speaker, second.speaker] == ["queen-joe", ""]
    audio = first.audio()
    assert audio.source_rate == 11_025
    assert len(audio.samples) == pytest.approx(48_000, abs=3000)
    with pytest.raises(AudioError, match=r"020006P1\.SB is truncated"):
        second.audio()
    assert capfd.readouterr().err == ""
    os.write(2, b"heard again\n")
    assert capfd.readouterr().err == "heard again\n"
