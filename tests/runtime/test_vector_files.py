"""Files of results, read back with NumPy, json and pyarrow."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from earkit.runtime.errors import ConfigError
from earkit.runtime.outputs import Output, SparseCode
from earkit.runtime.vector_files import KINDS, check_kind, columns, json_line, write

RNG = np.random.default_rng(0)
FILES = ["a.wav", "b/ü.flac", "c.wav"]


def made(output: Output) -> list[Any]:
    """Results of three sounds."""
    match output:
        case "frames":
            return [RNG.standard_normal((time, 4)).astype(np.float32) for time in (3, 1, 5)]
        case "tokens":
            return [RNG.integers(0, 9, time) for time in (3, 1, 5)]
        case "sparse":
            return [SparseCode(RNG.integers(0, 9, 2), RNG.random(2, np.float32), 9) for _ in range(3)]
        case _:
            return [RNG.standard_normal(4).astype(np.float32) for _ in range(3)]


def written(folder: Path, kind: str, output: Output, results: list[Any]) -> Path:
    """Write results in two parts."""
    parts = [folder / "0.npz", folder / "1.npz"]
    for part, some in zip(parts, (results[:2], results[2:]), strict=True):
        np.savez(part, allow_pickle=False, note=np.array("x"), **columns(output, some))
    file = folder / f"out{kind}"
    write(file, kind, parts, output=output, files=FILES, about={"model": "owl"})
    return file


@pytest.mark.parametrize("output", ["embedding", "scores"])
def test_npz_of_vectors(tmp_path: Path, output: Output) -> None:
    results = made(output)
    with np.load(written(tmp_path, ".npz", output, results)) as file:
        assert set(file) == {"about", "files", output}
        assert file["files"].tolist() == FILES
        assert json.loads(str(file["about"])) == {"model": "owl"}
        assert file[output].dtype == np.float32
        np.testing.assert_array_equal(file[output], results)


@pytest.mark.parametrize("output", ["frames", "tokens"])
def test_npz_of_frames(tmp_path: Path, output: Output) -> None:
    results = made(output)
    with np.load(written(tmp_path, ".npz", output, results)) as file:
        assert file["frame_lengths"].tolist() == [3, 1, 5]
        np.testing.assert_array_equal(file[output], np.concatenate(results))


def test_npz_of_sparse_codes(tmp_path: Path) -> None:
    results = made("sparse")
    with np.load(written(tmp_path, ".npz", "sparse", results)) as file:
        np.testing.assert_array_equal(file["sparse_indices"], [code.indices for code in results])
        np.testing.assert_array_equal(file["sparse_values"], [code.values for code in results])


def test_npy(tmp_path: Path) -> None:
    results = made("embedding")
    np.testing.assert_array_equal(np.load(written(tmp_path, ".npy", "embedding", results)), results)


@pytest.mark.parametrize("output", ["embedding", "scores", "frames", "tokens", "sparse"])
def test_jsonl_loses_no_bit(tmp_path: Path, output: Output) -> None:
    results = made(output)
    lines = written(tmp_path, ".jsonl", output, results).read_text(encoding="utf-8").splitlines()
    for line, file, result in zip(map(json.loads, lines), FILES, results, strict=True):
        assert line["file"] == file
        if output == "sparse":
            np.testing.assert_array_equal(line["indices"], result.indices)
            np.testing.assert_array_equal(np.float32(line["values"]), result.values)
        else:
            np.testing.assert_array_equal(np.array(line[output], result.dtype), result)


@pytest.mark.parametrize("output", ["embedding", "scores", "frames", "tokens", "sparse"])
def test_parquet_has_the_columns_of_jsonl(tmp_path: Path, output: Output) -> None:
    results = made(output)
    lines = written(tmp_path, ".jsonl", output, results).read_text(encoding="utf-8").splitlines()
    file = pyarrow.parquet.ParquetFile(written(tmp_path, ".parquet", output, results))
    assert file.metadata.num_row_groups == 2
    assert json.loads(file.metadata.metadata[b"earkit"]) == {"model": "owl"}
    for row, line in zip(file.read().to_pylist(), map(json.loads, lines), strict=True):
        assert row.keys() == line.keys()
        assert row["file"] == line["file"]
        for name in row.keys() - {"file"}:
            np.testing.assert_array_equal(np.float32(row[name]), np.float32(line[name]))


def test_floats_have_the_digits_of_a_float32() -> None:
    assert json_line("a", "embedding", np.array([0.1, 1e-9], np.float32)) == (
        '{"file": "a", "embedding": [0.1, 1e-09]}'
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_results_are_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    results = made("embedding")
    first = written(tmp_path, kind, "embedding", results).read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert written(tmp_path, kind, "embedding", results).read_bytes() == first


@pytest.mark.parametrize(
    ("name", "output", "sentence"),
    [
        ("x.csv", "embedding", "written as .npz, .npy, .parquet, .jsonl, and x.csv is none of them$"),
        ("x", "embedding", "x is none of them"),
        (
            "x.npy",
            "tokens",
            "a .npy is one matrix and cannot hold tokens: take another ending for x.npy",
        ),
    ],
)
def test_other_kinds_are_refused(name: str, output: Output, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_kind(Path(name), output)
