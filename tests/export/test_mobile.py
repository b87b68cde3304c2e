"""The file for phones runs, and says what it needs."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from earkit.export.mobile import for_phones, refuse_for_browsers
from earkit.export.student import Exported
from earkit.export.verify import pad, sounds
from earkit.runtime.errors import ConfigError
from earkit.runtime.model_file import read_model_file


def test_an_ort_file_is_the_same_model(exported: Exported, tmp_path: Path) -> None:
    file = Path(shutil.copy(exported.file, tmp_path / "owl.onnx"))
    made = for_phones(file)
    assert made.file == tmp_path / "owl.ort"
    assert read_model_file(made.file) == exported.info
    inputs = pad(sounds((0.2, 0.7)))
    before, after = (
        onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"]).run(["embedding"], inputs)
        for each in (file, made.file)
    )
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    needed = made.required_operators.read_text(encoding="utf-8")
    names = {name for line in needed.splitlines()[1:] for name in line.split(";")[2].split(",")}
    assert {"Conv", "MatMul", "LayerNormalization", "TopK"} <= names
    assert str(tmp_path) not in needed


def test_what_browsers_lack_is_refused(exported: Exported) -> None:
    refuse_for_browsers(exported.info)
    with pytest.raises(ConfigError, match="owl has ConvInteger, which browsers do not run"):
        refuse_for_browsers(dataclasses.replace(exported.info, operators=("Add", "ConvInteger")))
