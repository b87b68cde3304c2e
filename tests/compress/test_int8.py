"""Integer graphs: against the same rounding in NumPy, what stays float, and what onnxruntime fuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from earkit.compress.calibration import Ranges, calibrate
from earkit.compress.graph import open_graph, run, weights
from earkit.compress.int8 import dynamic_int8, static_int8

MOST = 64
"""Of a weight in steps of its channel: 7 bits."""

MakeGraph = Callable[..., onnx.ModelProto]
Sounds = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def ranges(small_graph: MakeGraph, sounds: Sounds) -> Ranges:
    return calibrate(small_graph(), sounds(6), "min-max")


def opened(proto: onnx.ModelProto, folder: Path) -> list[onnx.NodeProto]:
    """Nodes that are left when onnxruntime has optimized the graph."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "opened.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(onnx.load(folder / "opened.onnx").graph.node)


def rounded(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """To 256 steps from low to high, one of which is zero."""
    scale = (max(high, 0) - min(low, 0)) / 255
    zero = round(-min(low, 0) / scale)
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale


def test_a_product_is_that_of_rounded_numbers(small_graph: MakeGraph, sounds: Sounds, ranges: Ranges) -> None:
    proto = small_graph()
    only_first = static_int8(proto, ranges, keep=set(weights(proto)) - {"rise/MatMul"})
    only_first.graph.output.append(onnx.helper.make_tensor_value_info("rose", 1, None))
    only_first.graph.output.append(onnx.helper.make_tensor_value_info("x", 1, None))
    given = run(open_graph(only_first), sounds(1))
    weight = numpy_helper.to_array(weights(proto)["rise/MatMul"])
    scale = np.abs(weight).max(0) / MOST
    expected = rounded(given["x"], *ranges["x"]) @ (np.round(weight / scale) * scale)
    np.testing.assert_allclose(given["rose"], expected, atol=1e-4)
    assert np.abs(given["rose"] - given["x"] @ weight).max() > 1e-3


def test_all_nodes_with_weights_run_in_integers(
    small_graph: MakeGraph, ranges: Ranges, tmp_path: Path
) -> None:
    made = static_int8(small_graph(), ranges)
    onnx.checker.check_model(made, full_check=True)
    assert {each.domain for each in made.opset_import} <= {"", "ai.onnx"}
    kinds = [node.op_type for node in opened(made, tmp_path)]
    assert [kinds.count(kind) for kind in ("MatMulIntegerToFloat", "QLinearConv", "QGemm")] == [3, 1, 1]
    assert kinds.count("Conv") == 1  # the front end
    assert "MatMul" not in kinds


def test_outputs_are_not_rounded_for_those_who_multiply_them(
    small_graph: MakeGraph, sounds: Sounds, ranges: Ranges
) -> None:
    proto = small_graph()
    heads = {"token_head/MatMul"}
    made = static_int8(proto, ranges, keep=set(weights(proto)) - heads)
    before, after = (run(open_graph(each), sounds(2)) for each in (proto, made))
    np.testing.assert_allclose(after["frames"], before["frames"], atol=1e-6)
    np.testing.assert_allclose(after["embedding"], before["embedding"], atol=1e-6)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in made.graph.node}


def test_what_is_kept_stays_as_it_was(small_graph: MakeGraph, ranges: Ranges) -> None:
    proto = small_graph()
    made = static_int8(proto, ranges, keep=["fall/MatMul", "depthwise/Conv"])
    left = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    for name, each in {"fall": "fall", "depthwise": "depthwise", "front": "front"}.items():
        before = next(i for i in proto.graph.initializer if i.name == each)
        assert (left[name] == numpy_helper.to_array(before)).all()
    assert "rise" not in left


def test_weights_are_within_half_a_step_of_each_channel(small_graph: MakeGraph, ranges: Ranges) -> None:
    proto = small_graph()
    found = {each.name: numpy_helper.to_array(each) for each in static_int8(proto, ranges).graph.initializer}
    weight, stored = numpy_helper.to_array(weights(proto)["fall/MatMul"]), found["fall_quantized"]
    assert found["fall_scale"].shape == (16,)
    assert MOST - 2 <= np.abs(stored.astype(int)).max() <= MOST
    assert (np.abs(stored * found["fall_scale"] - weight) <= 0.51 * found["fall_scale"]).all()


@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_no_pair_of_products_exceeds_16_bits(small_graph: MakeGraph, ranges: Ranges, way: str) -> None:
    made = static_int8(small_graph(), ranges) if way == "static" else dynamic_int8(small_graph())
    eight_bits = [i for i in made.graph.initializer if i.data_type == onnx.TensorProto.INT8]
    most = max(int(np.abs(numpy_helper.to_array(each).astype(int)).max()) for each in eight_bits)
    assert 2 * 255 * most <= np.iinfo(np.int16).max
    assert most == MOST


def test_activations_are_signed_but_on_x86(
    small_graph: MakeGraph, ranges: Ranges, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds, given = {}, []
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr("platform.machine", lambda: machine)  # noqa: B023 - called at once
        made = static_int8(small_graph(), ranges)
        points = [i for i in made.graph.initializer if i.name.startswith("x") and "zero_point" in i.name]
        kinds[machine] = {i.data_type for i in points}
        given.append(run(open_graph(made), sounds(1))["embedding"][0])
    assert kinds == {"x86_64": {onnx.TensorProto.UINT8}, "aarch64": {onnx.TensorProto.INT8}}
    assert float(given[0] @ given[1]) > 0.999


def test_dynamic_products_and_no_integer_convolutions(
    small_graph: MakeGraph, sounds: Sounds, tmp_path: Path
) -> None:
    proto = small_graph()
    made = dynamic_int8(proto)
    onnx.checker.check_model(made, full_check=True)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("MatMulInteger") == 4  # the Gemm is one of them
    assert "ConvInteger" not in kinds
    assert kinds.count("Conv") == 2
    assert "DynamicQuantizeMatMul" in {node.op_type for node in opened(made, tmp_path)}
    before, after = (run(open_graph(each), sounds(1)) for each in (proto, made))
    assert float(before["embedding"][0] @ after["embedding"][0]) > 0.999
    assert np.abs(before["frames"] - after["frames"]).max() > 1e-4


def test_quantizers_do_not_talk(
    small_graph: MakeGraph, ranges: Ranges, capfd: pytest.CaptureFixture[str]
) -> None:
    dynamic_int8(small_graph())
    static_int8(small_graph(), ranges)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
