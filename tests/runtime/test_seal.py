"""The checksum: any flipped bit is told, and the file stays ONNX with the same graph."""

from pathlib import Path

import numpy as np
import onnx

from earkit.runtime import Embedder
from earkit.runtime.seal import KEY, is_broken, sealed


def test_a_sealed_file_is_the_same_model(clip_model: Path, tmp_path: Path) -> None:
    whole = clip_model.read_bytes()
    data = sealed(whole)
    read, before = onnx.load_from_string(data), onnx.load_from_string(whole)
    assert read.graph == before.graph
    assert [each.key for each in read.metadata_props] == ["earkit", KEY]
    (tmp_path / "m.onnx").write_bytes(data)
    x = np.linspace(-0.5, 0.5, 3000, dtype=np.float32)
    given = Embedder.load(tmp_path / "m.onnx").embed(x, 16_000)
    np.testing.assert_array_equal(given, Embedder.load(clip_model).embed(x, 16_000))


def test_any_flipped_bit_before_it_is_told(clip_model: Path) -> None:
    data = sealed(clip_model.read_bytes())
    assert not is_broken(memoryview(data))
    for place in np.linspace(0, len(data) - 84, 200).astype(int):
        for bit in (0, 7):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            assert is_broken(memoryview(flipped)), (place, bit)


def test_without_a_seal_nothing_is_broken(clip_model: Path) -> None:
    whole = clip_model.read_bytes()
    for data in (b"", b"short", whole, sealed(whole)[:-1], sealed(whole) + b"\x00"):
        assert not is_broken(memoryview(data))


def test_a_seal_over_a_seal_counts(clip_model: Path) -> None:
    twice = sealed(sealed(clip_model.read_bytes()))
    assert not is_broken(memoryview(twice))
    assert is_broken(memoryview(b"\x00" + twice))
