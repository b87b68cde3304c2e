"""Counts against what one counts by hand, operator by operator."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from earkit.benchmarks.multiply_adds import of_graph, of_nodes, of_torch
from earkit.benchmarks.node_profile import GraphRun, NodeRun
from earkit.runtime.errors import DataError


def values(*shape: int, kind: type = np.float32) -> np.ndarray:
    return np.ones(shape, kind)


def graph_run(
    folder: Path, body: str, feeds: dict[str, np.ndarray], weights: dict[str, np.ndarray]
) -> GraphRun:
    kinds = {"float32": "float", "uint8": "uint8", "int8": "int8", "int64": "int64"}
    inputs = ", ".join(
        f"{kinds[str(x.dtype)]}[{','.join('?' for _ in x.shape)}] {name}" for name, x in feeds.items()
    )
    out = "int32" if "Integer" in body else "float"
    head = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
    text = f"{head} g ({inputs}) => ({out}[] y) {{{body}}}"
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    proto.graph.initializer.extend(numpy_helper.from_array(x, name) for name, x in weights.items())
    onnx.save(proto, folder / "g.onnx")
    return GraphRun(folder / "g.onnx", feeds, ("y",))


CASES = {
    "a batch of products": ("y = MatMul(a, w)", {"a": values(2, 3, 4)}, {"w": values(4, 5)}, 2 * 3 * 4 * 5),
    "products of a batch": (
        "y = MatMul(a, b)",
        {"a": values(2, 3, 4), "b": values(2, 4, 5)},
        {},
        2 * 3 * 4 * 5,
    ),
    "integers": (
        "y = MatMulInteger(a, w)",
        {"a": values(3, 4, kind=np.uint8)},
        {"w": values(4, 5, kind=np.int8)},
        3 * 4 * 5,
    ),
    "four bits": (
        "y = com.microsoft.MatMulNBits <K = 32, N = 6, bits = 4, block_size = 32> (a, w, s)",
        {"a": values(2, 3, 32)},
        {"w": values(6, 1, 16, kind=np.uint8), "s": values(6)},
        2 * 3 * 32 * 6,
    ),
    "a sum of products": ("y = Gemm(a, w, c)", {"a": values(3, 4)}, {"w": values(4, 5), "c": values(5)}, 60),
    "a transposed one": (
        "y = Gemm <transA = 1, transB = 1> (a, w)",
        {"a": values(4, 3)},
        {"w": values(5, 4)},
        60,
    ),
    # 10 + 2 - 3 // 2 + 1 = 5 places, each of 6 channels a sum over 4 channels and 3 samples
    "a convolution": (
        "y = Conv <pads = [1, 1], strides = [2]> (a, w)",
        {"a": values(1, 4, 10)},
        {"w": values(6, 4, 3)},
        5 * 6 * 4 * 3,
    ),
    "in groups, in two dimensions": (
        "y = Conv <group = 4> (a, w)",
        {"a": values(2, 4, 5, 6)},
        {"w": values(8, 1, 2, 3)},
        2 * 8 * (4 * 4) * 6,
    ),
    "a transposed convolution": (
        "y = ConvTranspose <strides = [2]> (a, w)",
        {"a": values(1, 4, 10)},
        {"w": values(4, 3, 5)},
        10 * 4 * 3 * 5,
    ),
    # 7 steps, batch of 2, four gates of 5, from 3 inputs and 5 states
    "a recurrent network": (
        "all, y = LSTM <hidden_size = 5> (a, w, r)",
        {"a": values(7, 2, 3)},
        {"w": values(1, 20, 3), "r": values(1, 20, 5)},
        7 * 2 * 4 * 5 * (3 + 5),
    ),
    "what folds away": ("y = Add(a, a)", {"a": values(3, 4)}, {}, 0),
    "one after the other": (
        "x = MatMul(a, w)\n t = Transpose(x)\n y = MatMul(t, x)",
        {"a": values(3, 4)},
        {"w": values(4, 5)},
        3 * 4 * 5 + 5 * 3 * 5,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(tmp_path: Path, case: str) -> None:
    body, feeds, weights, expected = CASES[case]
    assert of_graph(graph_run(tmp_path, body, feeds, weights)) == expected


def test_what_is_quantized_counts_as_what_it_stands_for(tmp_path: Path) -> None:
    """A convolution between DequantizeLinear nodes, which onnxruntime would rewrite to QLinearConv."""
    weights = {"w": values(6, 4, 3, kind=np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    body = """
        q = QuantizeLinear(a, s, z)
        x = DequantizeLinear(q, s, z)
        f = DequantizeLinear(w, s, z)
        c = Conv(x, f)
        p = QuantizeLinear(c, s, z)
        y = DequantizeLinear(p, s, z)
    """
    run = graph_run(tmp_path, body, {"a": values(1, 4, 10)}, {k: np.asarray(v) for k, v in weights.items()})
    assert of_graph(run) == 8 * 6 * 4 * 3


def test_what_has_no_rule_is_refused() -> None:
    with pytest.raises(DataError, match="multiply-adds of Einsum are not known"):
        of_nodes([NodeRun("Einsum", 0.0, ((2, 2),), ((2, 2),))])


def test_torch_by_hand() -> None:
    attention = torch.nn.functional.scaled_dot_product_attention
    q = torch.ones(1, 2, 10, 8)  # 2 heads, 10 frames of 8
    assert of_torch(lambda: attention(q, q, q)) == 2 * (10 * 10 * 8 + 10 * 10 * 8)
    layer = torch.nn.Conv1d(4, 6, 3, stride=2, padding=1)
    assert of_torch(lambda: layer(torch.ones(1, 4, 10))) == 5 * 6 * 4 * 3
