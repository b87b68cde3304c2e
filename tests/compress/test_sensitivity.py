"""The node that 8 bits hurt most is found, and a mixed plan spares it."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from earkit.compress.calibration import Ranges, calibrate
from earkit.compress.fidelity import vectors
from earkit.compress.graph import open_graph, run, weights
from earkit.compress.int8 import static_int8
from earkit.compress.sensitivity import mixed_int8, sensitivities

Sounds = list[np.ndarray]


@pytest.fixture(scope="module")
def delicate(small_graph: Callable[..., onnx.ModelProto]) -> onnx.ModelProto:
    """One input of `fall` is 400 times too large for the others to be told apart, and hardly counts."""
    proto = small_graph()
    constants = {each.name: each for each in proto.graph.initializer}
    act = next(node for node in proto.graph.node if node.output[0] == "act")
    act.op_type = "Identity"
    for name, axis, factor in (("rise", 1, 400.0), ("rise_bias", 0, 400.0), ("fall", 0, 1 / 400)):
        values = numpy_helper.to_array(constants[name]).copy()
        np.moveaxis(values, axis, 0)[0] *= factor
        constants[name].CopyFrom(numpy_helper.from_array(values, name))
    return proto


@pytest.fixture(scope="module")
def heard(sounds: Callable[..., Sounds]) -> Sounds:
    return sounds(4)


@pytest.fixture(scope="module")
def ranges(delicate: onnx.ModelProto, heard: Sounds) -> Ranges:
    return calibrate(delicate, heard, "min-max")


def loss(proto: onnx.ModelProto, made: onnx.ModelProto, heard: Sounds) -> float:
    one, other = ([vectors(run(open_graph(each), [sound]))[0] for sound in heard] for each in (proto, made))
    return 1 - float(np.mean([a @ b for a, b in zip(one, other, strict=True)]))


def test_the_worst_comes_first_and_a_mixed_plan_leaves_it_in_float(
    delicate: onnx.ModelProto, heard: Sounds, ranges: Ranges
) -> None:
    lost = sensitivities(delicate, ranges, heard)
    assert set(lost) == set(weights(delicate))
    assert next(iter(lost)) == "fall/MatMul"
    assert list(lost.values()) == sorted(lost.values(), reverse=True)
    alone = static_int8(delicate, ranges, keep=set(lost) - {"fall/MatMul"})
    assert lost["fall/MatMul"] == pytest.approx(loss(delicate, alone, heard), rel=0.01)
    mixed = mixed_int8(delicate, ranges, lost, 1 / 5)
    kept = {each.name for each in mixed.graph.initializer}
    assert "fall" in kept
    assert "rise" not in kept
    assert loss(delicate, mixed, heard) < 0.3 * loss(delicate, static_int8(delicate, ranges), heard)
