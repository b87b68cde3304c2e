"""A written model file against the package onnx, and what is refused before any work."""

import dataclasses
from pathlib import Path

import onnx
import pytest

from earkit.runtime.errors import CheckpointError, ConfigError, StorageError
from earkit.runtime.model_card import model_card
from earkit.runtime.model_file import KEY, ModelInfo, read_model_file
from earkit.runtime.seal import is_broken
from earkit.runtime.write_model_file import card_of, refuse_place, write_model_file


@pytest.fixture
def info(clip_model: Path) -> ModelInfo:
    """A description with figures of another graph."""
    return dataclasses.replace(read_model_file(clip_model), name="owl", megabytes=9.0, operators=("Odd",))


def test_the_file_describes_its_graph_and_is_sealed(
    clip_model: Path, info: ModelInfo, tmp_path: Path
) -> None:
    proto, file = onnx.load(clip_model), tmp_path / "made" / "owl.onnx"
    made = write_model_file(file, proto, info, remarks="\nA remark.\n")
    bare = onnx.load(clip_model)
    del bare.metadata_props[:]
    assert made == read_model_file(file)
    assert made.megabytes == round(len(bare.SerializeToString()) / 1e6, 3)
    assert list(made.operators) == sorted({node.op_type for node in bare.graph.node})
    assert made == dataclasses.replace(
        info, megabytes=made.megabytes, operators=made.operators, card=made.card
    )
    assert made.card == model_card(made) + "\nA remark.\n" == card_of(file).read_text(encoding="utf-8")
    written = onnx.load(file)
    assert written.graph == proto.graph
    assert {each.key for each in written.metadata_props} == {KEY, "earkit.sha256"}
    assert not is_broken(memoryview(file.read_bytes()))
    assert is_broken(memoryview(file.read_bytes().replace(b"owl", b"cat")))


def test_the_graph_that_is_given_stays_as_it_is(clip_model: Path, info: ModelInfo, tmp_path: Path) -> None:
    proto = onnx.load(clip_model)
    write_model_file(tmp_path / "owl.onnx", proto, info)
    assert proto == onnx.load(clip_model)


def test_what_cannot_be_read_again_leaves_the_file_before_it(
    clip_model: Path, info: ModelInfo, tmp_path: Path
) -> None:
    (tmp_path / "owl.onnx").write_text("the one before")
    wrong = dataclasses.replace(info, outputs=("embedding",))
    with pytest.raises(CheckpointError, match="a damaged model file"):
        write_model_file(tmp_path / "owl.onnx", onnx.load(clip_model), wrong)
    assert [each.name for each in tmp_path.iterdir()] == ["owl.onnx"]
    assert (tmp_path / "owl.onnx").read_text() == "the one before"


def test_a_place_that_will_not_do_is_refused_before_any_work(tmp_path: Path) -> None:
    refuse_place(tmp_path / "new" / "owl.onnx")
    with pytest.raises(ConfigError, match=r"ends in \.onnx: give --out .*owl\.onnx, not .*owl\.ort"):
        refuse_place(tmp_path / "owl.ort")
    (tmp_path / "owl.md").mkdir()
    with pytest.raises(StorageError, match=r"could not write .*owl\.md"):
        refuse_place(tmp_path / "owl.onnx")
