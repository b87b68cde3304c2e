"""Tiny packages in the layouts of the real ones, without a network."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

Tokens = Sequence[tuple[bytes, int, int]]
"""Runs of literals, each followed by a copy of `length` from `distance` back; the last by none (0, 0)."""


@pytest.fixture
def tone() -> Callable[..., bytes]:
    """Sound files in memory, all different; 0.2 s where nothing is said."""

    def make(pitch: float = 440.0, *, rate: int = 8000, seconds: float = 0.2, form: str = "WAV") -> bytes:
        wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)
        file = io.BytesIO()
        soundfile.write(file, wave, rate, format=form)
        return file.getvalue()

    return make


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Mapping[str, bytes | str]], Path]:
    """Write files below a new folder."""

    def make(files: Mapping[str, bytes | str]) -> Path:
        folder = tmp_path / f"package-{len(list(tmp_path.glob('package-*')))}"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make


@pytest.fixture
def zipped() -> Callable[[Mapping[str, bytes | str]], bytes]:
    """Make a zip in memory."""

    def make(files: Mapping[str, bytes | str]) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return file.getvalue()

    return make


class Bits:
    """Writes bits into words of 16, the lowest first; bytes in between go behind the last word begun."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.word = 0  # where the current one stands
        self.used = 16

    def put(self, value: int, count: int) -> None:
        for _ in range(count):
            if self.used == 16:
                self.word, self.used = len(self.out), 0
                self.out += b"\0\0"
            if value & 1:
                self.out[self.word + self.used // 8] |= 1 << self.used % 8
            value >>= 1
            self.used += 1

    def number(self, value: int) -> None:
        """Every symbol has a word of 4 bits, so symbol s is s with its highest bit first."""
        symbol = value.bit_length()
        self.put(int(f"{symbol:04b}"[::-1], 2), 4)
        if symbol > 1:
            self.put(value - (1 << symbol - 1), symbol - 1)


def crc(data: bytes) -> int:
    """CRC-16, bit by bit."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def pack_blocks(blocks: Sequence[Tokens]) -> bytes:
    """RNC method 1 of the tokens, with the same code of 16 symbols everywhere."""
    bits, plain = Bits(), bytearray()
    bits.put(0, 2)
    for tokens in blocks:
        for _ in range(3):
            bits.put(16, 5)
            for _ in range(16):
                bits.put(4, 4)
        bits.put(len(tokens), 16)
        for literals, distance, length in tokens:
            bits.number(len(literals))
            bits.out += literals
            plain += literals
            if distance:
                bits.number(distance - 1)
                bits.number(length - 2)
                for _ in range(length):
                    plain.append(plain[-distance] if distance <= len(plain) else 0)
    body, data = bytes(bits.out), bytes(plain)
    return struct.pack(">3sBIIHHBB", b"RNC", 1, len(data), len(body), crc(data), crc(body), 0, 1) + body


@pytest.fixture
def pack() -> Callable[[Sequence[Tokens]], bytes]:
    return pack_blocks
