"""Sound files, damaged: cut, flipped, overwritten, with headers that lie and samples that are no numbers.

File `index` of a seed is always the same. Where a checksum would hide a lie, it is made right again.
"""

import functools
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile

# Suffix, format and subtype of libsndfile, rate, channels.
_FORMATS = (
    *((".wav", "WAV", "PCM_16", 16_000, 1), (".wav", "WAV", "PCM_24", 44_100, 2)),
    *((".wav", "WAV", "FLOAT", 48_000, 1), (".wav", "WAVEX", "DOUBLE", 8000, 2)),
    *((".wav", "WAV", "MS_ADPCM", 22_050, 1), (".wav", "WAV", "ULAW", 8000, 1)),
    *((".flac", "FLAC", "PCM_16", 16_000, 1), (".flac", "FLAC", "PCM_24", 44_100, 2)),
    *((".ogg", "OGG", "VORBIS", 44_100, 2), (".ogg", "OGG", "VORBIS", 16_000, 1)),
    *((".opus", "OGG", "OPUS", 48_000, 1), (".mp3", "MP3", "MPEG_LAYER_III", 16_000, 1)),
    (".mp3", "MP3", "MPEG_LAYER_III", 44_100, 2),
)
_EXTREMES = (0, 1, 2, 3, 7, 255, 256, 257, 999, 8001, 65_535, 1 << 20, 1 << 31, 0x7FFF_FFFF, 0xFFFF_FFFF)
_NO_NUMBERS = (np.nan, np.inf, -np.inf, 1e30, -1e38, 5e-324, 32_768.0)

Random = np.random.Generator


@dataclass(frozen=True)
class Damaged:
    """One damaged file."""

    mutation: str
    suffix: str
    data: bytes


def damaged(index: int, seed: int = 0) -> Damaged:
    """Damage the file of this index."""
    rng = np.random.default_rng((seed, index))
    suffix, data = _whole()[index % len(_FORMATS)]
    names = list(_MUTATIONS)
    name = names[index // len(_FORMATS) % len(names)]
    changed = _MUTATIONS[name](data, rng)
    # Half of the ogg files keep their wrong checksums; a decoder that skips such pages sees little else.
    if data[:4] == b"OggS" and rng.random() < 0.5:
        changed = _with_checksums(changed)
    return Damaged(f"{suffix[1:]} {name}", suffix, changed)


@functools.cache
def _whole() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    files = []
    for suffix, form, subtype, rate, channels in _FORMATS:
        seconds = rng.uniform(0.3, 1.5)
        tone = np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
        sound = 0.4 * tone[:, None] + 0.05 * rng.standard_normal((len(tone), channels))
        file = io.BytesIO()
        soundfile.write(file, sound, rate, format=form, subtype=subtype)
        files.append((suffix, file.getvalue()))
    return files


def _truncated(data: bytes, rng: Random) -> bytes:
    end = rng.integers(0, 128) if rng.random() < 0.3 else rng.integers(0, len(data))
    return data[: int(end)]


def _bits(data: bytes, rng: Random) -> bytes:
    made = bytearray(data)
    for _ in range(int(2 ** rng.uniform(0, 8))):
        # Headers stand in front; most of a file is samples, where little can go wrong.
        place = int(rng.integers(0, 200 if rng.random() < 0.4 else len(made)))
        made[place % len(made)] ^= 1 << int(rng.integers(0, 8))
    return bytes(made)


def _overwritten(data: bytes, rng: Random) -> bytes:
    begin, length = _stretch(data, rng)
    filled = [bytes(length), b"\xff" * length, rng.bytes(length)][int(rng.integers(0, 3))]
    return data[:begin] + filled + data[begin + length :]


def _moved(data: bytes, rng: Random) -> bytes:
    """Leave a stretch out, repeat it, or put it elsewhere."""
    begin, length = _stretch(data, rng)
    piece, rest = data[begin : begin + length], data[:begin] + data[begin + length :]
    place = int(rng.integers(0, len(rest) + 1))
    return [rest, data[:begin] + 3 * piece + data[begin:], rest[:place] + piece + rest[place:]][
        int(rng.integers(0, 3))
    ]


def _spliced(data: bytes, rng: Random) -> bytes:
    """Begin as one file and go on as another."""
    _, other = _whole()[int(rng.integers(0, len(_FORMATS)))]
    return data[: int(rng.integers(4, len(data)))] + other[int(rng.integers(0, len(other))) :]


def _foreign(data: bytes, rng: Random) -> bytes:
    """Nothing but the first bytes is of the format."""
    return data[: int(rng.integers(0, 64))] + rng.bytes(int(rng.integers(0, 5000)))


def _lying(data: bytes, rng: Random) -> bytes:
    """Change one to three fields of the header to what cannot be, or can hardly be."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place, layout = (fields := _fields(data))[int(rng.integers(0, len(fields)))]
        size = struct.calcsize(layout)
        value = int(_EXTREMES[int(rng.integers(0, len(_EXTREMES)))]) if rng.random() < 0.8 else None
        filled = rng.bytes(size) if value is None else struct.pack(layout, value % (1 << 8 * size))
        made[place : place + size] = filled
    return bytes(made)


def _unreal(data: bytes, rng: Random) -> bytes:
    """Put what is no sample among the samples; in files without floats, silence and the loudest there is."""
    place = data.find(b"data") + 8
    layout = {b"\x03\x00": "<f4", b"\xfe\xff": "<f8"}.get(data[20:22]) if data[:4] == b"RIFF" else None
    if layout is None:
        return data[:300] + [b"\x00", b"\xff", b"\x7f"][int(rng.integers(0, 3))] * (len(data) - 300)
    samples = np.frombuffer(data[place:], layout).copy()
    where = rng.integers(0, len(samples), int(rng.integers(1, 20)))
    with np.errstate(over="ignore"):
        samples[where] = rng.choice(np.array(_NO_NUMBERS), len(where)).astype(layout)
    return data[:place] + samples.tobytes()


_MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": _truncated,
    "bits flipped": _bits,
    "overwritten": _overwritten,
    "moved": _moved,
    "spliced": _spliced,
    "foreign": _foreign,
    "lying header": _lying,
    "unreal samples": _unreal,
}


def _stretch(data: bytes, rng: Random) -> tuple[int, int]:
    begin = int(rng.integers(0, 200 if rng.random() < 0.4 else len(data)))
    return begin % len(data), int(2 ** rng.uniform(0, 12))


def _fields(data: bytes) -> list[tuple[int, str]]:
    """Places and layouts of the numbers of a header."""
    match data[:4]:
        case b"RIFF":
            sizes = [(4, "<I"), (16, "<I"), (data.find(b"data") + 4, "<I")]
            return [*sizes, (20, "<H"), (22, "<H"), (24, "<I"), (28, "<I"), (32, "<H"), (34, "<H")]
        case b"fLaC":  # lengths of blocks; rate, channels, bits and samples share eight bytes
            return [(4, ">I"), (8, ">H"), (10, ">H"), (12, ">I"), (18, ">I"), (20, ">H"), (22, ">I")]
        case b"OggS":  # end, serial and number of the page; then version, channels, rates and block sizes
            page = [(6, "<Q"), (14, "<I"), (18, "<I"), (26, "B"), (data.rfind(b"OggS") + 6, "<Q")]
            return [*page, (35, "B"), (36, "<H"), (38, "<I"), (39, "B"), (40, "<I"), (44, "<I"), (56, "B")]
        case _:  # the first frame's header, and the table that tells how long the file is
            table = max(data.find(b"Xing"), data.find(b"Info"), 36)
            return [(1, "B"), (2, "B"), (3, "B"), (table + 4, ">I"), (table + 8, ">I"), (table + 12, ">I")]


def _with_checksums(data: bytes) -> bytes:
    """Make the checksums of all ogg pages right."""
    made = bytearray(data)
    place = made.find(b"OggS")
    while place >= 0 and place + 27 <= len(made):
        segments = made[place + 27 : place + 27 + made[place + 26]]
        end = min(len(made), place + 27 + len(segments) + sum(segments))
        made[place + 22 : place + 26] = bytes(4)
        made[place + 22 : place + 26] = struct.pack("<I", _ogg_checksum(bytes(made[place:end])))
        place = made.find(b"OggS", place + 4)
    return bytes(made)


@functools.cache
def _table() -> list[int]:
    table = []
    for byte in range(256):
        rest = byte << 24
        for _ in range(8):
            rest = (rest << 1) ^ (0x04C11DB7 if rest >> 31 else 0)
            rest &= 0xFFFF_FFFF
        table.append(rest)
    return table


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of polynomial 0x04c11db7, not reflected, from 0."""
    table, rest = _table(), 0
    for byte in page:
        rest = (rest << 8) & 0xFFFF_FFFF ^ table[rest >> 24 ^ byte]
    return rest
