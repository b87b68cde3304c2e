"""The wire format, against the package that owns it."""

import doctest

import onnx
import pytest

from earkit.runtime import protobuf
from earkit.runtime.protobuf import fields


def test_the_example() -> None:
    assert doctest.testmod(protobuf).failed == 0


def test_every_field_is_there() -> None:
    tensor = onnx.TensorProto(dims=[1, 300, 2**63 - 1], data_type=7, name="eår", raw_data=bytes(300))
    found = list(fields(memoryview(tensor.SerializeToString())))
    numbers = {number: content for number, content in found if number != 1}
    assert numbers[2] == 7
    assert bytes(numbers[8]).decode() == "eår"
    assert bytes(numbers[9]) == bytes(300)
    packed = [content for number, content in found if number == 1]
    assert packed == [1, 300, 2**63 - 1]


def test_fixed_widths_are_stepped_over() -> None:
    attribute = onnx.AttributeProto(name="alpha", f=0.5, floats=[1.0, 2.0], type=onnx.AttributeProto.FLOAT)
    names = [
        bytes(content) for number, content in fields(memoryview(attribute.SerializeToString())) if number == 1
    ]
    assert names == [b"alpha"]
    assert list(fields(memoryview(b"\x09" + bytes(8) + b"\x08\x05"))) == [(1, bytes(8)), (1, 5)]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x0a\x05abcd", "a field at byte 2 is cut off"),
        (b"\x0a", "it is cut off"),
        (b"\x09\x00", "a field at byte 1 is cut off"),
        (b"\x0b", "byte 1 begins no field"),
        (b"\x08" + b"\xff" * 11, "ends a number that is too long"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "is cut off"),
    ],
)
def test_what_is_none_is_told(message: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(fields(memoryview(message)))
