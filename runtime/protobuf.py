"""Protobuf's wire format, as far as it takes to look into a file without the package that wrote it."""

from collections.abc import Iterator

_BITS, _MESSAGE = {1: 8, 5: 4}, 2  # wire types; 0 is a varint


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    r"""Give number and content of each field: a whole number, or the bytes of anything else.

    >>> [(number, bytes(content)) for number, content in fields(memoryview(b"\x0a\x02ok"))]
    [(1, b'ok')]
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _MESSAGE:
            size, place = _varint(message, place)
        elif kind in _BITS:
            size = _BITS[kind]
        else:
            raise ValueError(f"byte {place} begins no field")
        if size > len(message) - place:
            raise ValueError(f"a field at byte {place} is cut off")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; gives the number and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place == len(message):
            raise ValueError("it is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"byte {place} ends a number that is too long")
