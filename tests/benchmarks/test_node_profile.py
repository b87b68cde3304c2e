"""The nodes of a run: their operators in order, their shapes, and shares of time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from earkit.benchmarks.node_profile import GraphRun, NodeRun, node_runs, shares
from earkit.runtime.errors import CheckpointError


@pytest.fixture
def run(tmp_path: Path) -> GraphRun:
    body = "g (float[n, 4] a) => (float[n, 5] y) {x = MatMul(a, w) y = Relu(x)}"
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> ' + body)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 5), np.float32), "w"))
    onnx.save(proto, tmp_path / "g.onnx")
    return GraphRun(tmp_path / "g.onnx", {"a": np.ones((3, 4), np.float32)}, ("y",))


def test_nodes_of_every_run(run: GraphRun) -> None:
    rounds = node_runs(run, rounds=3, as_written=True)
    assert [[node.operator for node in nodes] for nodes in rounds] == [["MatMul", "Relu"]] * 3
    product = rounds[0][0]
    assert (product.inputs, product.outputs) == (((3, 4), (4, 5)), ((3, 5),))
    assert all(0 <= node.seconds < 1 for nodes in rounds for node in nodes)


def test_nothing_is_left_behind(run: GraphRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node_runs(run)
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]


def test_shares_are_medians_over_rounds_of_what_all_nodes_took() -> None:
    def node(operator: str, seconds: float) -> NodeRun:
        return NodeRun(operator, seconds, (), ())

    rounds = [
        [node("A", 1), node("B", 2), node("A", 1)],
        [node("A", 3), node("B", 1)],
        [node("A", 3), node("B", 2)],
    ]
    assert shares(rounds) == pytest.approx({"A": 0.6, "B": 0.4})
    assert list(shares([[node("A", 1), node("B", 2)]])) == ["B", "A"]


def test_a_wrong_input_is_one_sentence(run: GraphRun) -> None:
    wrong = GraphRun(run.file, {"a": np.ones((3, 5), np.float32)}, ("y",))
    with pytest.raises(CheckpointError, match=r"g\.onnx cannot be run by onnxruntime"):
        node_runs(wrong)
