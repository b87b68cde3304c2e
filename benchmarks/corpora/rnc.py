"""Unpacking Rob Northen's compression, method 1, as games of the nineties use it.

A header of 18 bytes, numbers big-endian: `RNC`, method 1, unpacked size, packed size, checksums of the
unpacked and the packed data (CRC-16 with the polynomial 0xA001, lowest bit first), leeway, number of
blocks. Then bits, taken from little-endian words of 16, the lowest first; whole bytes of literals stand
between the words. After two bits that mean nothing, each block has three Huffman codes, for runs of
literals, distances and lengths, a count of 16 bits, and so many turns: a run of literals, then, save in the
last turn, a copy of what came before.
"""

import struct
from typing import NamedTuple

from earkit.runtime.errors import DataError

_HEADER = struct.Struct(">3sBIIHHBB")


class _Code(NamedTuple):
    """A Huffman code: what the next bits, as many as its longest word has, begin with."""

    bits: int
    words: list[tuple[int, int]]
    """(symbol, length of its word) for every value of so many bits."""


def unpack(packed: bytes) -> bytes:
    """Give the unpacked data; bytes after the packed ones are ignored."""
    if len(packed) < _HEADER.size:
        raise DataError(f"{len(packed)} bytes are no RNC data: the package differs from that of the recipe")
    magic, method, size, packed_size, checksum, *_ = _HEADER.unpack_from(packed)
    body = packed[_HEADER.size : _HEADER.size + packed_size]
    if (magic, method) != (b"RNC", 1) or len(body) < packed_size:
        raise DataError("this is no whole RNC data of method 1: the package differs from that of the recipe")
    try:
        unpacked = _Unpacker(body).run(size)
    except IndexError as error:
        raise DataError("RNC data that refers to what is not there: fetch the package again") from error
    if len(unpacked) != size or crc(unpacked) != checksum:
        raise DataError("RNC data whose checksum does not fit: fetch the package again")
    return unpacked


def crc(data: bytes) -> int:
    """CRC-16 as RNC counts it."""
    value = 0
    for byte in data:
        value = (value >> 8) ^ _CRC[(value ^ byte) & 0xFF]
    return value


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC = [_crc_of_byte(byte) for byte in range(256)]


class _Unpacker:
    """The place in the packed data: `_next` is the byte after the words that bits were taken from."""

    def __init__(self, body: bytes) -> None:
        self._body = body + bytes(4)  # so that looking ahead at the end finds something
        self._next = 0
        self._left = 0  # bits of the current word
        self._count = 0  # how many

    def run(self, size: int) -> bytes:
        out = bytearray()
        self._take(2)
        while len(out) < size:
            literals, distances, lengths = self._code(), self._code(), self._code()
            for turn in range(self._take(16), 0, -1):
                run = self._number(literals)
                if run:
                    out += self._body[self._next : self._next + run]
                    self._next += run
                if turn > 1:
                    distance = self._number(distances) + 1
                    _repeat(out, distance, self._number(lengths) + 2)
                if self._next > len(self._body):
                    raise IndexError
        return bytes(out)

    def _take(self, bits: int) -> int:
        if bits > self._count:
            self._left |= (self._body[self._next] | self._body[self._next + 1] << 8) << self._count
            self._next += 2
            self._count += 16
        value = self._left & ((1 << bits) - 1)
        self._left >>= bits
        self._count -= bits
        return value

    def _code(self) -> _Code:
        """Read the lengths of the words; words of one length count upwards, highest bit first."""
        lengths = [self._take(4) for _ in range(self._take(5))]
        longest = max(lengths, default=0)
        words = [(0, 0)] * (1 << longest)
        value = 0
        for length in range(1, longest + 1):
            for symbol in (symbol for symbol, own in enumerate(lengths) if own == length):
                word = int(f"{value:0{length}b}"[::-1], 2)
                for begun in range(word, 1 << longest, 1 << length):
                    words[begun] = (symbol, length)
                value += 1
            value <<= 1
        return _Code(longest, words)

    def _number(self, code: _Code) -> int:
        """Decode a symbol; above 1 it says how many bits follow the highest one of the number."""
        ahead = self._left
        if self._count < code.bits:  # look at the next word without taking it
            ahead |= (self._body[self._next] | self._body[self._next + 1] << 8) << self._count
        symbol, length = code.words[ahead & ((1 << code.bits) - 1)]
        self._take(length)
        return symbol if symbol < 2 else 1 << (symbol - 1) | self._take(symbol - 1)


def _repeat(out: bytearray, distance: int, length: int) -> None:
    """Append what stands `distance` back; it may overlap with what is appended.

    A distance beyond the beginning gives nonsense, which the checksum will tell.
    """
    start = len(out) - distance
    if distance >= length:
        out += out[start : start + length]
    else:
        out += (out[start:] * (length // distance + 1))[:length]
