"""Parquet files, read by its reference implementation."""

import doctest
import io
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from earkit.runtime import parquet
from earkit.runtime.parquet import Column, write_parquet

RNG = np.random.default_rng(0)


def written(*groups: Mapping[str, Column]) -> pa.parquet.ParquetFile:
    """Write groups and open what came of them."""
    stream = io.BytesIO()
    write_parquet(stream, groups, {"about": '{"model": "owl ü"}'})
    return pa.parquet.ParquetFile(stream)


def test_the_example() -> None:
    assert doctest.testmod(parquet).failed == 0


def arrays(kind: str, *shapes: Sequence[int]) -> list[np.ndarray]:
    return [(100 * RNG.standard_normal(shape)).astype(kind) for shape in shapes]


@pytest.mark.parametrize(("kind", "arrow"), [("float32", "float"), ("int32", "int32"), ("int64", "int64")])
@pytest.mark.parametrize(
    "shapes",
    [
        [(3,), (3,)],
        [(1,), (5,), (300,)],
        [(1, 1)],
        [(2, 3), (1, 3), (5, 3)],
        [(2, 3, 4), (1, 1, 1), (4, 1, 2)],
    ],
)
def test_lists_of_numbers(kind: str, arrow: str, shapes: list[tuple[int, ...]]) -> None:
    rows = arrays(kind, *shapes)
    table = written({"x": rows}).read()
    assert str(table.schema.field("x").type).replace("element: ", "").replace(" not null", "") == (
        "list<" * len(shapes[0]) + arrow + ">" * len(shapes[0])
    )
    assert table["x"].to_pylist() == [row.tolist() for row in rows]


def test_groups_and_names() -> None:
    one = {"file": ["a.wav", "b/ü.flac"], "x": arrays("float32", (4,), (4,))}
    two = {"file": [""], "x": arrays("float32", (4,))}
    file = written(one, two)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [2, 1]
    table = file.read()
    assert table.schema.field("file").type == pa.string()
    assert table["file"].to_pylist() == ["a.wav", "b/ü.flac", ""]
    assert table["x"].to_pylist() == [row.tolist() for row in [*one["x"], *two["x"]]]
    assert file.read_row_group(1)["file"].to_pylist() == [""]


def test_notes() -> None:
    metadata = written({"x": arrays("int64", (1,))}).metadata
    assert metadata.metadata[b"about"] == '{"model": "owl ü"}'.encode()
    assert metadata.created_by == "earkit"


def test_pages_end_with_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, names = arrays("float32", *[(time, 8) for time in (40, 1, 2, 70, 3)]), list("abcde")
    whole = written({"file": names, "x": rows})
    monkeypatch.setattr(parquet, "PAGE_BYTES", 1000)
    cut = written({"file": names, "x": rows})
    sizes = [file.metadata.row_group(0).column(1).total_compressed_size for file in (whole, cut)]
    assert sizes[1] > sizes[0]
    assert cut.read()["x"].to_pylist() == whole.read()["x"].to_pylist() == [row.tolist() for row in rows]
    batches = cut.iter_batches(batch_size=2)
    assert [name for batch in batches for name in batch["file"].to_pylist()] == names


def test_many_columns_and_rows() -> None:
    group = {f"column {number}": arrays("float32", *[(2,)] * 400) for number in range(20)}
    table = written(group, group, group).read()
    assert table.num_rows == 1200
    for name, rows in group.items():
        assert table[name].to_pylist() == [row.tolist() for row in rows] * 3


def test_a_name_that_is_no_text_can_be_read() -> None:
    assert written({"file": ["a\udcff.wav"]}).read()["file"].to_pylist() == ["a\\udcff.wav"]


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one group"):
        written()
