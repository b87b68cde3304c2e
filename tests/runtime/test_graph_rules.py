"""What a graph may hold; the files are made by the package onnx, which the rules do without."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from earkit.runtime.graph_rules import broken_rule

Change = Callable[[onnx.ModelProto], object]

_BRANCH = helper.make_graph(
    [helper.make_node("Identity", ["audio"], ["y"])],
    "branch",
    [],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
)


def changed(model: Path, change: Change) -> str:
    proto = onnx.load(model)
    change(proto)
    return broken_rule(memoryview(proto.SerializeToString()))


def external(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def with_tensor(proto: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    external(tensor)
    proto.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def of_constants(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(helper.make_tensor("two", TensorProto.INT64, [1], [2]))
    proto.graph.node.insert(0, helper.make_node("Cast", ["two"], ["size"], to=TensorProto.INT64))
    proto.graph.node.insert(1, helper.make_node("ConstantOfShape", ["size"], ["zeros"]))


def with_sparse(proto: onnx.ModelProto) -> None:
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [0.0])
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    external(values)
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def test_what_is_exported_is_allowed(clip_model: Path, step_graph: Path) -> None:
    for model in (clip_model, step_graph):
        assert changed(model, lambda _: None) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda m: m.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=_BRANCH)),
            "branches",
        ),
        (lambda m: m.graph.node.append(helper.make_node("Loop", [""], ["y"], body=_BRANCH)), "loops"),
        (
            lambda m: m.graph.node.append(helper.make_node("Odd", [], [], bodies=[_BRANCH])),
            "loops or branches",
        ),
        (
            lambda m: m.functions.append(helper.make_function("d", "F", [], [], [], [])),
            "functions of its own",
        ),
        (lambda m: m.training_info.add(), "of training"),
        (lambda m: setattr(m.graph.node[3], "domain", "evil"), "operators of 'evil'"),
        (
            lambda m: setattr(m.graph.node[3], "domain", "com.microsoft.nchwc"),
            "operators of 'com.microsoft.nchwc'",
        ),
        (lambda m: external(m.graph.initializer[2]), "weights in other files"),
        (
            lambda m: m.graph.initializer[2].external_data.add(key="location", value="x"),
            "weights in other files",
        ),
        (lambda m: setattr(m.graph.initializer[2], "data_location", 1), "weights in other files"),
        (of_constants, "computes ConstantOfShape of constants"),
        (with_tensor, "weights in other files"),
        (with_sparse, "weights in other files"),
        (lambda m: m.ClearField("graph"), "no graph"),
    ],
)
def test_what_is_not_allowed(clip_model: Path, change: Change, reason: str) -> None:
    assert reason in changed(clip_model, change)


def test_onnxruntimes_own_operators_are_allowed(clip_model: Path) -> None:
    assert changed(clip_model, lambda m: setattr(m.graph.node[3], "domain", "com.microsoft")) == ""


def test_what_is_no_onnx(clip_model: Path) -> None:
    whole = clip_model.read_bytes()
    assert "cut off" in broken_rule(memoryview(whole[: len(whole) // 2]))
    assert "no ONNX" in broken_rule(memoryview(b"This is no model."))
    assert "several graphs" in broken_rule(memoryview(whole + whole))
