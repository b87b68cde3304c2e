"""Thrift's compact protocol, against bytes worked out by hand; `test_parquet` has another's reader."""

import doctest

from earkit.runtime import thrift
from earkit.runtime.thrift import fields, int32, int64, many, text, varint


def test_the_examples() -> None:
    assert doctest.testmod(thrift).failed == 0


def test_numbers() -> None:
    assert int32(0) == (5, b"\0")
    assert int64(-1) == (6, b"\x01")
    assert int32(2**31 - 1) == (5, b"\xfe\xff\xff\xff\x0f")
    assert int32(-(2**31)) == (5, b"\xff\xff\xff\xff\x0f")
    assert varint(127) + varint(128) == b"\x7f\x80\x01"


def test_text_has_its_size_in_bytes() -> None:
    assert text("ü") == (8, b"\x02\xc3\xbc")


def test_lists_shorter_and_longer_than_fifteen() -> None:
    assert many([int32(1), int32(2)]) == (9, b"\x25\x02\x04")
    assert many([int32(0)] * 14) == (9, b"\xe5" + bytes(14))
    assert many([int32(0)] * 15) == (9, b"\xf5\x0f" + bytes(15))


def test_structs_within_structs() -> None:
    assert fields({3: fields({}), 5: fields({1: int32(1)})}) == (12, b"\x3c\x00\x2c\x15\x02\x00\x00")
