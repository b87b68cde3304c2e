"""A model file small enough to compute by hand, and sounds: most of quantization needs no student."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

GRAPH = """
<ir_version: 9, opset_import: ["" : 20]>
ear (float[batch, samples] audio, int64[batch] lengths)
    => (float[batch, 12] embedding, float[batch, time, 16] frames, int64[batch, time] tokens,
        int64[batch] frame_lengths)
<int64[1] one = {1}, int64[1] two = {2}, int64 hop = {640}, int64 most = {639}, int64 zero = {0},
 int64 step = {1}, int64 none = {-1}>
{
    wave = Unsqueeze (audio, one)
    heard = Conv <strides = [640], pads = [0, 639]> (wave, front)
    x = Transpose <perm = [0, 2, 1]> (heard)
    sum = Add (lengths, most)
    frame_lengths = Div (sum, hop)
    ends = Unsqueeze (frame_lengths, one)
    shape = Shape (x)
    time = Gather (shape, step)
    places = Range (zero, time, step)
    valid = Less (places, ends)
    one_or_zero = Cast <to = 1> (valid)
    mask = Unsqueeze (one_or_zero, two)
    rose = MatMul (x, rise)
    risen = Add (rose, rise_bias)
    act = Tanh (risen)
    fell = MatMul (act, fall)
    fallen = Add (fell, fall_bias)
    there = Mul (fallen, mask)
    turned = Transpose <perm = [0, 2, 1]> (there)
    mixed = Conv <group = 16, pads = [1, 1]> (turned, depthwise, depthwise_bias)
    back = Transpose <perm = [0, 2, 1]> (mixed)
    frames = Mul (back, mask)
    logit = MatMul (frames, token_head)
    logits = Add (logit, token_bias)
    best = ArgMax <axis = -1, keepdims = 0> (logits)
    tokens = Where (valid, best, none)
    total = ReduceSum <keepdims = 0> (frames, one)
    count = Cast <to = 1> (ends)
    mean = Div (total, count)
    projected = Gemm <transB = 1> (mean, project, project_bias)
    length = ReduceL2 (projected, one)
    embedding = Div (projected, length)
}
"""

NAMES = {
    "heard": "student.log_mel/Conv",
    "x": "student.log_mel/Transpose",
    "rose": "rise/MatMul",
    "risen": "rise/Add",
    "fell": "fall/MatMul",
    "fallen": "fall/Add",
    "mixed": "depthwise/Conv",
    "logit": "token_head/MatMul",
    "logits": "token_head/Add",
    "projected": "project/Gemm",
}
"""By output: the nodes that tests speak of."""


def ear(seed: int = 0) -> onnx.ModelProto:
    """Each frame of 640 samples by 16 filters, a hidden layer, a look at its neighbours, and heads."""
    rng = np.random.default_rng(seed)
    shapes = {
        "front": (16, 1, 640),
        "rise": (16, 32),
        "rise_bias": (32,),
        "fall": (32, 16),
        "fall_bias": (16,),
    }
    shapes |= {"depthwise": (16, 1, 3), "depthwise_bias": (16,), "token_head": (16, 8), "token_bias": (8,)}
    shapes |= {"project": (12, 16), "project_bias": (12,)}
    proto = onnx.parser.parse_model(GRAPH)
    for node in proto.graph.node:
        node.name = NAMES.get(node.output[0], f"/{node.output[0]}")
    for name, shape in shapes.items():
        fan_in = max(1, int(np.prod(shape[1:] if name in {"front", "depthwise", "project"} else shape[:-1])))
        values = rng.standard_normal(shape) / np.sqrt(fan_in)
        scale = {"front": 8.0, "depthwise": 1.0}.get(name, 1.0)
        proto.graph.initializer.append(numpy_helper.from_array((scale * values).astype(np.float32), name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def noise(count: int, seconds: float = 1.0, seed: int = 0) -> list[NDArray[np.float32]]:
    """Noise whose loudness and colour change, each of another length."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        n = int(16_000 * seconds) + 777 * i
        loudness = rng.uniform(0.05, 0.5, 1 + n // 640).repeat(640)[:n]
        white = rng.standard_normal(n)
        made.append((loudness * np.convolve(white, rng.standard_normal(4), "same") / 2).astype(np.float32))
    return made


@pytest.fixture(scope="session")
def small_graph() -> Callable[..., onnx.ModelProto]:
    """Give `ear`."""
    return ear


@pytest.fixture(scope="session")
def sounds() -> Callable[..., list[NDArray[np.float32]]]:
    """Give `noise`."""
    return noise
