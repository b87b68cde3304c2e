"""Bytes of a pipe against NumPy's reading of them as a whole."""

import numpy as np
import pytest

from earkit.runtime.pcm import PCM, Format


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize(("form", "kind"), [("s16", "<i2"), ("f32", "<f4")])
def test_bytes_may_be_cut_anywhere(size: int, form: Format, kind: str) -> None:
    wanted = (np.random.default_rng(0).standard_normal((50, 3)) * 1000).astype(kind)
    data = wanted.tobytes() + b"\1\2\3\4\5"
    pcm = PCM(form, 3)
    parts = [pcm.decode(data[i : i + size]) for i in range(0, len(data), size)]
    assert {part.dtype for part in parts} == {np.dtype(kind).newbyteorder("=")}
    np.testing.assert_array_equal(np.concatenate(parts), wanted)
    assert pcm.left == 5
