"""Thrift's compact protocol, as far as it takes to write the notes in a Parquet file."""

from collections.abc import Mapping, Sequence

Value = tuple[int, bytes]
"""Type and bytes."""


def int32(number: int) -> Value:
    """Encode a whole number of 32 bits."""
    return 5, _zigzag(number)


def int64(number: int) -> Value:
    """Encode a whole number of 64 bits, which differs by its type alone."""
    return 6, _zigzag(number)


def text(string: str) -> Value:
    """Encode text."""
    content = string.encode()
    return 8, varint(len(content)) + content


def many(values: Sequence[Value]) -> Value:
    """Encode a list; its values, of which there is one at least, are of one type."""
    kind = values[0][0]
    size = len(values)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + varint(size)
    return 9, head + b"".join(content for _, content in values)


def fields(values: Mapping[int, Value]) -> Value:
    r"""Encode a struct: fields by their numbers, which ascend.

    >>> fields({1: int32(-2), 4: text("ok")})
    (12, b'\x15\x038\x02ok\x00')
    """
    encoded, last = b"", 0
    for number, (kind, content) in values.items():
        encoded += bytes([(number - last) << 4 | kind]) + content
        last = number
    return 12, encoded + b"\0"


def varint(number: int) -> bytes:
    r"""Encode a number that is not negative: seven bits a byte, the lowest first.

    >>> varint(300)
    b'\xac\x02'
    """
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _zigzag(number: int) -> bytes:
    return varint(2 * number if number >= 0 else -2 * number - 1)
