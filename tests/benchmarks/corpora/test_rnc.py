"""RNC method 1, against an encoder of our own and bytes worked out by hand."""

import struct
from collections.abc import Callable

import pytest

from earkit.benchmarks.corpora.rnc import crc, unpack
from earkit.runtime.errors import DataError

Pack = Callable[..., bytes]


def test_literals_and_copies(pack: Pack) -> None:
    tokens = [(b"abc", 3, 7), (b"", 1, 5), (b"xyz" * 40, 100, 50), (b"end", 0, 0)]
    text = b"abc" + b"abcabca" + b"aaaaa" + b"xyz" * 40
    text += text[-100:-50] + b"end"
    assert unpack(pack([tokens])) == text


def test_an_overlapping_copy_repeats_what_it_makes(pack: Pack) -> None:
    assert unpack(pack([[(b"ab", 2, 9), (b"", 0, 0)]])) == b"ab" + b"ababababa"


def test_several_blocks_refer_to_each_other(pack: Pack) -> None:
    blocks = [[(b"first ", 0, 0)], [(b"second ", 13, 6), (b"!", 0, 0)]]
    assert unpack(pack(blocks)) == b"first second first !"


def test_codes_of_different_lengths_by_hand() -> None:
    # Lock 00. Literals: symbols 0, 1, 2 with words of 2, 2 and 1 bits, so 2 -> 0, 0 -> 10, 1 -> 11. No codes
    # for distances and lengths. One turn: a run of 3 = symbol 2 and the bit 1, then the bytes themselves.
    fields = [(0, 2), (3, 5), (2, 4), (2, 4), (1, 4), (0, 5), (0, 5), (1, 16), (0, 1), (1, 1)]
    value, place = 0, 0
    for number, count in fields:
        value |= number << place
        place += count
    body = value.to_bytes(6, "little") + b"hey"
    head = struct.pack(">3sBIIHHBB", b"RNC", 1, 3, len(body), crc(b"hey"), 0, 0, 1)
    assert unpack(head + body) == b"hey"


def test_crc_of_the_standard_text() -> None:
    assert crc(b"123456789") == 0xBB3D  # the check value of CRC-16/ARC


def test_what_follows_is_ignored(pack: Pack) -> None:
    assert unpack(pack([[(b"abc", 0, 0)]]) + b"rest") == b"abc"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda good: b"RNC\2" + good[4:], "no whole RNC data"),
        (lambda good: good[:10], "are no RNC data"),
        (lambda good: good[:-2], "no whole RNC data"),
        (lambda good: good[:-1] + b"?", "checksum does not fit"),
        (lambda good: good[:4] + b"\0\0\1\0" + good[8:], "RNC data"),
    ],
)
def test_damage_is_told(pack: Pack, damage: Callable[[bytes], bytes], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        unpack(damage(pack([[(b"abcdef", 2, 4), (b"xyz", 0, 0)]])))


def test_a_copy_from_before_the_beginning_is_told(pack: Pack) -> None:
    with pytest.raises(DataError, match="refers to what is not there"):
        unpack(pack([[(b"ab", 3, 4), (b"", 0, 0)]]))
