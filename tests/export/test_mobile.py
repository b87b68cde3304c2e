"""The files for phones run, say what they need, and are the same model."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from earkit.export.mobile import Mobile, for_phones, refuse_for_browsers
from earkit.export.student import Exported
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import ConfigError
from earkit.runtime.inference import open_graph, pad, play, run
from earkit.runtime.model_file import open_session, read_model_file
from earkit.runtime.session import session_options
from earkit.runtime.trial_sounds import sounds


@pytest.fixture(scope="module")
def phones(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Mobile:
    file = tmp_path_factory.mktemp("phone") / "owl.onnx"
    return for_phones(Path(shutil.copy(exported.file, file)), 1.5)


def test_an_ort_file_is_the_same_model(exported: Exported, phones: Mobile) -> None:
    assert phones.file.name == "owl.ort"
    assert read_model_file(phones.file) == exported.info
    inputs = pad(sounds((0.2, 0.7, 2.0)))
    before, after = (
        run(open_session(each, session_options(1)), inputs) for each in (exported.file, phones.file)
    )
    assert set(before) == set(exported.info.outputs)
    for name, values in before.items():
        if values.dtype == np.float32:
            np.testing.assert_allclose(after[name], values, atol=1e-5)
        else:
            assert after[name].tolist() == values.tolist()
    clip = sounds((1.0,))[0]
    np.testing.assert_allclose(
        Embedder.load(phones.file).embed(clip, 16_000),
        Embedder.load(exported.file).embed(clip, 16_000),
        atol=1e-5,
    )


def test_it_says_which_operators_a_reduced_build_needs(phones: Mobile) -> None:
    needed = phones.required_operators.read_text(encoding="utf-8")
    names = {name for line in needed.splitlines()[1:] for name in line.split(";")[2].split(",")}
    assert {"Conv", "MatMul", "LayerNormalization", "TopK"} <= names
    assert str(phones.file.parent) not in needed


def test_the_file_of_one_shape_explains_itself(exported: Exported, phones: Mobile) -> None:
    info = read_model_file(phones.fixed)
    assert phones.fixed.name == "owl-fixed.onnx"
    assert (info.name, info.samples, info.parent_sha256) == ("owl-fixed", 24_000, exported.info.parent_sha256)
    assert "Gelu" not in info.operators
    assert set(info.drift) == {"embedding", "frames", "scores"}
    assert all(0 <= drift < 1e-3 for drift in info.drift.values())
    assert phones.card.read_text(encoding="utf-8") == info.card
    for found in phones.usability:
        assert f"| {found.accelerator} | {found.advice} | {found.taken} of {found.nodes} |" in info.card
    left = sorted(each.name for each in phones.file.parent.iterdir())
    assert left == sorted(["owl.onnx", *(each.name for each in phones.files)])


def test_a_step_graph_takes_a_step_of_80_ms(stream: Exported, tmp_path: Path) -> None:
    made = for_phones(Path(shutil.copy(stream.file, tmp_path / "owl-stream.onnx")), 5.0)
    assert read_model_file(made.fixed).samples == 1280
    clips = sounds((0.5,))
    whole, fixed = (play(open_graph(onnx.load(each)), clips)["frames"] for each in (stream.file, made.fixed))
    cosine = (whole * fixed).sum(2) / (np.linalg.norm(whole, axis=2) * np.linalg.norm(fixed, axis=2))
    assert cosine.min() > 0.999


def test_what_browsers_lack_is_refused(exported: Exported) -> None:
    refuse_for_browsers(exported.info)
    with pytest.raises(ConfigError, match="owl has ConvInteger, which browsers do not run"):
        refuse_for_browsers(dataclasses.replace(exported.info, operators=("Add", "ConvInteger")))
