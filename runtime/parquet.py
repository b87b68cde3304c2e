"""Tables in Parquet: plain values, uncompressed (vectors hardly shrink), a group of rows at a time.

A column is text, numbers, or lists of numbers nested to any depth; nothing is null and no list is empty.
Nesting is told by a level for each number (Melnik et al., Dremel, 2010): how many of the lists that it is in
go on from the number before it, so that 0 begins a row.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from numpy.typing import NDArray

from earkit.runtime.thrift import Value, fields, int32, int64, many, text, varint

Column = Sequence[str | NDArray[Any]]
"""For each row a text, or an array each of whose axes is a list."""

PAGE_BYTES = 1 << 20
"""A page ends with the row that reaches this size; readers hold a page at a time."""

_MAGIC = b"PAR1"
_PLAIN, _RLE = int32(0), int32(3)
_REQUIRED, _REPEATED = int32(0), int32(2)
_TEXT_TYPE = 6
_TYPES = {"int32": 1, "int64": 2, "float32": 4}
# Each is said twice, as older readers know but the first.
_IS_TEXT = {6: int32(0), 10: fields({1: fields({})})}
_IS_LIST = {6: int32(3), 10: fields({3: fields({})})}


def write_parquet(
    stream: IO[bytes], groups: Iterable[Mapping[str, Column]], about: Mapping[str, str]
) -> None:
    """Write groups of rows, one at least, which have the same columns and at least one row each."""
    stream.write(_MAGIC)
    schema, written, rows = None, [], 0
    for group in groups:
        start, count = stream.tell(), len(next(iter(group.values())))
        chunks = many([_write_column(stream, name, column) for name, column in group.items()])
        written.append(fields({1: chunks, 2: int64(stream.tell() - start), 3: int64(count)}))
        schema, rows = _schema(group), rows + count
    if schema is None:
        raise ValueError("a table has at least one group of rows")
    notes = many([fields({1: text(key), 2: text(value)}) for key, value in about.items()])
    table = {1: int32(1), 2: schema, 3: int64(rows), 4: many(written), 5: notes, 6: text("earkit")}
    _, footer = fields(table)
    stream.write(footer + struct.pack("<I", len(footer)) + _MAGIC)


def _schema(group: Mapping[str, Column]) -> Value:
    """List the tree of columns, a parent before its child."""
    tree = [fields({4: text("schema"), 5: int32(len(group))})]
    for name, column in group.items():
        here = name
        for _ in range(_depth(column)):
            tree.append(fields({3: _REQUIRED, 4: text(here), 5: int32(1)} | _IS_LIST))
            tree.append(fields({3: _REPEATED, 4: text("list"), 5: int32(1)}))
            here = "element"
        kind = _type(column)
        leaf = {1: int32(kind), 3: _REQUIRED, 4: text(here)}
        tree.append(fields(leaf | _IS_TEXT if kind == _TEXT_TYPE else leaf))
    return many(tree)


def _write_column(stream: IO[bytes], name: str, column: Column) -> Value:
    """Write the pages of a column of one group, and describe them."""
    start, depth, total = stream.tell(), _depth(column), 0
    levels, values, count = bytearray(), bytearray(), 0
    for row, entry in enumerate(column, start=1):
        if isinstance(entry, str):
            content = entry.encode(errors="backslashreplace")  # the name of a file may be no text
            values += struct.pack("<I", len(content)) + content
            count += 1
        else:
            levels += _levels(entry.shape)
            values += entry.astype(entry.dtype.newbyteorder("<")).tobytes()
            count += entry.size
        if len(values) >= PAGE_BYTES or row == len(column):
            stream.write(_page(bytes(levels), bytes(values), count, depth))
            total += count
            levels, values, count = bytearray(), bytearray(), 0
    path, size = [text(name), *[text("list"), text("element")] * depth], int64(stream.tell() - start)
    sizes = {4: int32(0), 5: int64(total), 6: size, 7: size, 9: int64(start)}
    chunk = fields({1: int32(_type(column)), 2: many([_PLAIN, _RLE]), 3: many(path)} | sizes)
    return fields({2: int64(start), 3: chunk})


def _page(levels: bytes, values: bytes, count: int, depth: int) -> bytes:
    if depth:
        full = _run(depth, count)  # every number is there, as no list is empty
        values = b"".join(struct.pack("<I", len(part)) + part for part in (levels, full)) + values
    about, size = fields({1: int32(count), 2: _PLAIN, 3: _RLE, 4: _RLE}), int32(len(values))
    _, head = fields({1: int32(0), 2: size, 3: size, 5: about})
    return head + values


def _levels(shape: Sequence[int], first: int = 0, axis: int = 0) -> bytes:
    r"""Encode the levels of the numbers of an array.

    >>> _levels((2, 3))  # 0 2 2, 1 2 2
    b'\x02\x00\x04\x02\x02\x01\x04\x02'
    """
    if axis == len(shape) - 1:
        return _run(first, 1) + _run(len(shape), shape[axis] - 1)
    return _levels(shape, first, axis + 1) + (shape[axis] - 1) * _levels(shape, axis + 1, axis + 1)


def _run(level: int, count: int) -> bytes:
    return varint(count << 1) + bytes([level]) if count else b""


def _depth(column: Column) -> int:
    first = column[0]
    return 0 if isinstance(first, str) else first.ndim


def _type(column: Column) -> int:
    first = column[0]
    return _TEXT_TYPE if isinstance(first, str) else _TYPES[str(first.dtype)]
