"""Results of many sounds in one file: .npz, .npy, .parquet or .jsonl, the same bytes for the same results.

Results come in parts, which are read one at a time, so that a file may be larger than memory. A part is a
.npz of columns, named as the graph's outputs: a row for each sound, but for frames and tokens, which have a
row for each frame, and `frame_lengths` of them for each sound.
"""

import itertools
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.errors import ConfigError
from earkit.runtime.model_file import OUTPUTS
from earkit.runtime.outputs import Output, Result, SparseCode
from earkit.runtime.parquet import Column, write_parquet

Columns = dict[str, NDArray[Any]]

KINDS = (".npz", ".npy", ".parquet", ".jsonl")

_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip has no earlier date, and today's would make other bytes tomorrow


def check_kind(out: Path, output: Output) -> None:
    """Refuse a file name that says no format of ours, or one that cannot hold the output."""
    if out.suffix not in KINDS:
        raise ConfigError(f"results are written as {', '.join(KINDS)}, and {out} is none of them")
    if out.suffix == ".npy" and output not in {"embedding", "scores"}:
        raise ConfigError(f"a .npy is one matrix and cannot hold {output}: take another ending for {out}")


def columns(output: Output, results: Sequence[Any]) -> Columns:
    """Make a part of results."""
    match output:
        case "frames" | "tokens":
            lengths = np.array([len(result) for result in results], np.int64)
            return {output: np.concatenate(results), "frame_lengths": lengths}
        case "sparse":
            return {
                "sparse_indices": np.stack([code.indices for code in results]),
                "sparse_values": np.stack([code.values for code in results]),
            }
        case _:
            return {output: np.stack(results)}


def results(output: Output, part: Mapping[str, NDArray[Any]]) -> Iterator[Result]:
    """Undo `columns`; the width of a sparse code is not in it."""
    match output:
        case "frames" | "tokens":
            yield from np.split(part[output], np.cumsum(part["frame_lengths"])[:-1])
        case "sparse":
            for indices, values in zip(part["sparse_indices"], part["sparse_values"], strict=True):
                yield SparseCode(indices, values, 0)
        case _:
            yield from part[output]


def json_line(file: str, output: Output, result: Result) -> str:
    """Write one result as a line of JSON, its floats with the digits that a float32 has."""
    return json.dumps({"file": file} | {name: _plain(array) for name, array in _row(output, result).items()})


def write(
    file: Path,
    kind: str,
    parts: Sequence[Path],
    *,
    output: Output,
    files: Sequence[str],
    about: Mapping[str, Any],
) -> None:
    """Join parts in a file of a kind. `files`, the sounds, and `about` are kept where there is room."""
    match kind:
        case ".npz":
            _write_npz(file, parts, output, {"about": np.array(json.dumps(about)), "files": np.array(files)})
        case ".npy":
            with file.open("wb") as stream:
                _write_column(stream, output, parts)
        case ".parquet":
            with file.open("wb") as stream:
                write_parquet(stream, _groups(parts, output, files), {"earkit": json.dumps(about)})
        case _:
            _write_jsonl(file, parts, output, files)


def _write_npz(file: Path, parts: Sequence[Path], output: Output, more: Columns) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in more.items():
            with _entry(archive, name) as entry:
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
        for name in OUTPUTS[output]:
            with _entry(archive, name) as entry:
                _write_column(entry, name, parts)


def _entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True)


def _write_jsonl(file: Path, parts: Sequence[Path], output: Output, files: Sequence[str]) -> None:
    names = iter(files)
    with file.open("w", encoding="utf-8") as lines:
        for path in parts:
            with np.load(path) as part:
                for result in results(output, part):
                    lines.write(json_line(next(names), output, result) + "\n")


def _groups(parts: Sequence[Path], output: Output, files: Sequence[str]) -> Iterator[dict[str, Column]]:
    names = iter(files)
    for path in parts:
        with np.load(path) as part:
            rows = [_row(output, result) for result in results(output, part)]
        made: dict[str, Column] = {"file": list(itertools.islice(names, len(rows)))}
        yield made | {name: [row[name] for row in rows] for name in rows[0]}


def _row(output: Output, result: Result) -> Columns:
    """Name the arrays of one result, as they are in .jsonl and .parquet."""
    if isinstance(result, SparseCode):
        return {"indices": result.indices, "values": result.values}
    return {output: result}


def _write_column(stream: IO[bytes], name: str, parts: Sequence[Path]) -> None:
    shapes, kind = [], np.dtype(np.float32)
    for column in _column(name, parts):
        shapes.append(column.shape)
        kind = column.dtype
    shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    described = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    for column in _column(name, parts):
        stream.write(column.tobytes())


def _column(name: str, parts: Sequence[Path]) -> Iterator[NDArray[Any]]:
    for path in parts:
        with np.load(path) as part:
            yield part[name]


def _plain(array: NDArray[Any]) -> list[Any]:
    if array.ndim > 1:
        return [_plain(row) for row in array]
    if np.issubdtype(array.dtype, np.integer):
        numbers: list[Any] = array.tolist()
        return numbers
    return [float(str(value)) for value in array]
