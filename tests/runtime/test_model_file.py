"""The description of a model file: what goes in comes out, and what is none of ours is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from earkit.runtime.errors import CheckpointError
from earkit.runtime.model_card import model_card
from earkit.runtime.model_file import KEY, Latency, ModelInfo, Sparse, Tokens, parse, read_model_file
from earkit.runtime.seal import sealed

INFO = ModelInfo(
    schema=1,
    name="tiny",
    outputs=("embedding", "tokens", "frame_lengths", "sparse_indices", "sparse_values"),
    dim=8,
    frame_dim=4,
    sample_rate=16_000,
    hop=640,
    lookahead=480,
    context=1000,
    dims=(4, 8),
    tokens=Tokens(codebook=1, codebooks=2, size=32),
    sparse=Sparse(width=64, k=8, k_min=4, k_max=16),
    teachers=("ear | one", "two"),
    quality={"words": 0.5},
    drift={"embedding": 1e-6},
    latency=(Latency(10.0, 1, 20.0),),
    machine="a box",
)


def write(path: Path, text: str | None, outputs: tuple[str, ...] = INFO.outputs) -> Path:
    """A graph with the right inputs and outputs, each output a copy of one of the inputs."""
    nodes = [helper.make_node("Identity", ["audio"], [name]) for name in outputs]
    model = helper.make_model(
        helper.make_graph(
            [*nodes, helper.make_node("Identity", ["lengths"], ["unused"])],
            "g",
            [
                helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", "samples"]),
                helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    if text is not None:
        helper.set_model_props(model, {KEY: text})
    onnx.save(model, path)
    return path


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(INFO.to_json()), **values})


def test_a_description_comes_back(tmp_path: Path) -> None:
    read = read_model_file(write(tmp_path / "m.onnx", INFO.to_json()))
    assert read == INFO
    assert read.sparse is not None
    assert read.sparse.k_max == 16
    assert read.latency[0].milliseconds == 20.0


def test_fields_of_later_versions_are_left_alone_and_missing_ones_have_defaults() -> None:
    values = json.loads(INFO.to_json())
    values["smell"] = ["of", {"a": 1}]
    del values["teachers"]
    assert parse(json.dumps(values), Path("m")) == dataclasses.replace(INFO, teachers=())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (changed(schema=2), r"has schema 2, and this version of earkit reads 1"),
        (changed(schema="1"), r"has schema '1'"),
        ("[]", r"damaged model file \(its metadata `earkit` is no description"),
        ("{not json", "is no description"),
        (changed(dim="8"), "dim is not of type int"),
        (changed(dim=True), "dim is not of type int"),
        (changed(dims=[4, "8"]), "dims is not of type int"),
        (changed(dims=[4, 16]), "from 1 to 8"),
        (changed(hop=0), "below 1"),
        (changed(tokens=None), "tokens without an inventory"),
        (changed(tokens={"codebook": 0}), r"tokens.codebooks is missing"),
        (changed(sparse={"width": 64, "k": 2, "k_min": 4, "k_max": 16}), "k_min <= k"),
        (changed(outputs=["embedding", "smell"]), "not those of a model file"),
        (changed(classes=["a"]), "scores without classes, or the reverse"),
        (changed(quality={"words": "good"}), "quality.words is not of type float"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence) as caught:
        parse(text, Path("model.onnx"))
    assert "\n" not in str(caught.value)
    assert "model.onnx" in str(caught.value)


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no model file"):
        read_model_file(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("This is no model.")
    with pytest.raises(CheckpointError, match=r"text.onnx cannot be used \(it is no ONNX"):
        read_model_file(tmp_path / "text.onnx")
    with pytest.raises(CheckpointError, match="none of earkit's"):
        read_model_file(write(tmp_path / "other.onnx", None))


def test_a_file_changed_since_it_was_sealed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", INFO.to_json())
    path.write_bytes(sealed(path.read_bytes()))
    assert read_model_file(path) == INFO
    path.write_bytes(path.read_bytes().replace(b"a box", b"a bow"))
    with pytest.raises(CheckpointError, match="its checksum is not its own"):
        read_model_file(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(CheckpointError, match="it has 0 bytes"):
        read_model_file(tmp_path / "m.onnx")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "m.onnx", INFO.to_json()).read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"half.onnx"):
        read_model_file(tmp_path / "half.onnx")


def test_a_graph_that_gives_other_things_than_it_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="inputs and outputs are not those that it describes"):
        read_model_file(write(tmp_path / "m.onnx", INFO.to_json(), outputs=INFO.outputs[:-1]))


def test_the_card_says_what_the_description_says() -> None:
    card = model_card(INFO)
    for said in (
        "# tiny\n",
        "may be cut to 4, 8",
        "8 of 64; any from 4 to 16",
        "codebook 2 of 2",
        "500 times real time",  # 10 s in 20 ms
        r"ear \| one, two",
        "| words | 0.5 |",
        "a box",
    ):
        assert said in card
    assert "classes" not in card
