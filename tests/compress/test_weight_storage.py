"""What is stored, unpacked by NumPy, is what onnxruntime computes with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from earkit.compress import weight_storage
from earkit.compress.calibration import calibrate
from earkit.compress.graph import open_graph, run, weights
from earkit.compress.int8 import static_int8
from earkit.compress.weight_storage import _nearest, eight_bits, four_bits, half

MakeGraph = Callable[..., onnx.ModelProto]
Sounds = Callable[..., list[np.ndarray]]


def stored(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}


def computed(proto: onnx.ModelProto, tensor: str, kind: int = TensorProto.FLOAT) -> np.ndarray:
    """A tensor inside, by onnxruntime; it depends on no input."""
    watched = onnx.ModelProto.FromString(proto.SerializeToString())
    del watched.graph.output[:]
    watched.graph.output.append(helper.make_tensor_value_info(tensor, kind, None))
    return run(open_graph(watched), [np.zeros(640, np.float32)])[tensor]


@pytest.mark.parametrize(
    ("weight", "axis"), [("rise", 1), ("fall", 1), ("depthwise", 0), ("project", 0), ("token_head", 1)]
)
def test_eight_bits_are_within_half_a_step_of_each_output_channel(
    small_graph: MakeGraph, weight: str, axis: int
) -> None:
    proto = small_graph()
    before, small = stored(proto)[weight], eight_bits(proto)
    onnx.checker.check_model(small, full_check=True)
    assert weight not in stored(small)
    assert stored(small)[f"{weight}/int8"].dtype == np.int8
    after = computed(small, weight)
    others = tuple(i for i in range(before.ndim) if i != axis)
    steps = np.abs(before).max(others, keepdims=True) / 127
    assert (np.abs(after - before) <= steps * 0.501).all()
    assert np.abs(after - before).max() > 0


def test_the_front_end_and_biases_stay_as_they_are(small_graph: MakeGraph) -> None:
    proto = small_graph()
    before, after = stored(proto), stored(eight_bits(proto))
    for name in ("front", "rise_bias", "depthwise_bias"):
        assert (after[name] == before[name]).all()


@pytest.fixture(scope="module")
def int8(small_graph: MakeGraph, sounds: Sounds) -> onnx.ModelProto:
    proto = small_graph()
    return static_int8(proto, calibrate(proto, sounds(4), "min-max"))


def int8_weights(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {name: each for name, each in stored(proto).items() if each.dtype == np.int8 and each.ndim > 1}


def test_four_bits_are_unpacked_as_they_are_described(int8: onnx.ModelProto) -> None:
    small = four_bits(int8)
    onnx.checker.check_model(small, full_check=True)
    before, kept = int8_weights(int8), stored(small)
    shapes = {node.output[0]: node.input[1] for node in small.graph.node if node.op_type == "Reshape"}
    packed = {name: shapes[name].removesuffix("/shape") for name in before if name in shapes}
    assert {name.partition("_quantized")[0] for name in packed} == {"rise", "fall"}  # others are too small
    for name, prefix in packed.items():
        codes = kept[f"{prefix}/nibbles"]
        assert (codes.dtype, codes.size) == (np.uint8, before[name].size // 2)
        multiplier = kept[f"{prefix}/multiplier"]
        assert multiplier.dtype == np.float16
        (joined,) = (
            n for n in small.graph.node if n.op_type == "Concat" and n.output[0] == f"{prefix}/codes"
        )
        q = np.concatenate([codes % 16, codes // 16], axis=joined.attribute[0].i).astype(np.float32) - 8
        expected = np.round(q * multiplier.astype(np.float32)).reshape(before[name].shape)
        given = computed(small, name, TensorProto.INT8)
        assert given.dtype == np.int8
        assert (given == expected).all()
        error = np.abs(given.astype(float) - before[name])
        assert 0 < error.mean() < 8.5  # a step is a fifteenth of what 255 steps span


def test_a_block_lies_within_one_output_channel(int8: onnx.ModelProto) -> None:
    """One channel a hundred times as large does not disturb the others."""
    proto = onnx.ModelProto.FromString(int8.SerializeToString())
    weight = next(each for each in proto.graph.initializer if each.name.startswith("rise_quantized"))
    values = numpy_helper.to_array(weight).copy()  # (in, out)
    values[:, 1:] = np.round(values[:, 1:] / 20)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    given = computed(four_bits(proto), weight.name, TensorProto.INT8)
    assert np.abs(given[:, 1:].astype(int) - values[:, 1:]).max() <= 1


def test_multipliers_are_as_good_as_any_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    blocks = np.round(rng.standard_normal((4, 3, 32)) * 35).clip(-127, 127).astype(np.float32)
    q, m = _nearest(blocks, 2)
    assert q.min() >= -8
    assert q.max() <= 7
    assert np.abs(q * m).max() < 128
    found = np.square(np.round(q * m) - blocks).sum(2)
    best = np.full((4, 3), np.inf)
    for step in np.concatenate([np.linspace(-15.9, -0.5, 400), np.linspace(0.5, 15.9, 400)]):
        tried = np.round(np.clip(np.round(blocks / step), -8, 7) * step)
        best = np.minimum(best, np.square(tried - blocks).sum(2))
    assert found.sum() <= 1.1 * best.sum()
    assert (found <= 1.5 * best).all()


def test_four_bits_run_in_int8(int8: onnx.ModelProto, tmp_path: Path) -> None:
    """What unpacks is gone when onnxruntime has opened the file, and the integer kernels are there."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    onnxruntime.InferenceSession(
        four_bits(int8).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = {node.op_type for node in onnx.load(tmp_path / "opened.onnx").graph.node}
    assert not kinds & {"BitShift", "BitwiseAnd", "Round"}
    assert {"MatMulIntegerToFloat", "QLinearConv", "QGemm"} <= kinds


def test_half_is_half_precision(small_graph: MakeGraph, sounds: Sounds) -> None:
    proto = small_graph()
    small = half(proto)
    onnx.checker.check_model(small, full_check=True)
    rounded = onnx.ModelProto.FromString(proto.SerializeToString())
    for each in rounded.graph.initializer:
        values = numpy_helper.to_array(each)
        if values.dtype == np.float32 and values.size >= 256:
            each.CopyFrom(numpy_helper.from_array(values.astype(np.float16).astype(np.float32), each.name))
    one, other = (run(open_graph(each), sounds(2)) for each in (small, rounded))
    np.testing.assert_array_equal(one["frames"], other["frames"])
    assert stored(small)["front/half"].dtype == np.float16
    assert small.ByteSize() < 0.6 * proto.ByteSize()


def test_what_half_precision_cannot_hold_stays(small_graph: MakeGraph) -> None:
    proto = small_graph()
    weight = weights(proto)["rise/MatMul"]
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = 1e6
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    assert "rise" in stored(half(proto))


def test_scales_are_not_halved(int8: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_storage, "LEAST", 2)
    kinds = {each.dtype for name, each in stored(half(int8)).items() if "scale" in name}
    assert kinds == {np.dtype(np.float32)}


def test_a_float_graph_is_left_alone(small_graph: MakeGraph) -> None:
    proto = small_graph()
    before = proto.SerializeToString()
    for change in (eight_bits, four_bits, half):
        change(proto)
    assert proto.SerializeToString() == before
