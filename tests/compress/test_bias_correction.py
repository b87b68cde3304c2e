"""Biases take back what quantization adds on average, and nothing else is touched."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from earkit.compress.bias_correction import corrected
from earkit.compress.graph import open_graph, run

MakeGraph = Callable[..., onnx.ModelProto]
Sounds = Callable[..., list[np.ndarray]]

BIASES = ("rise_bias", "fall_bias", "depthwise_bias", "token_bias", "project_bias")


def copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(proto.SerializeToString())


def constants(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}


def add(proto: onnx.ModelProto, shifts: dict[str, float]) -> onnx.ModelProto:
    made = copy(proto)
    for each in made.graph.initializer:
        if each.name in shifts:
            values = numpy_helper.to_array(each) + np.float32(shifts[each.name])
            each.CopyFrom(numpy_helper.from_array(values, each.name))
    return made


def test_a_quantizer_that_only_shifts_is_undone_exactly(small_graph: MakeGraph, sounds: Sounds) -> None:
    """Its inverse is known: the biases that it was given less what it adds."""
    proto = small_graph()
    shifts = dict(zip(BIASES, (0.02, -0.03, 0.05, 0.4, -0.1), strict=True))
    made = corrected(proto, lambda p: add(p, shifts), sounds(5), rounds=8)
    before, after = constants(proto), constants(made)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=2e-4, err_msg=name)


def coarse(proto: onnx.ModelProto) -> onnx.ModelProto:
    """All weights of products in 3 bits, rounded towards one side."""
    made = copy(proto)
    for each in made.graph.initializer:
        if each.name in {"rise", "fall", "project"}:
            values = numpy_helper.to_array(each)
            step = np.abs(values).max() / 3
            each.CopyFrom(numpy_helper.from_array(np.ceil(values / step) * step, each.name))
    return made


def test_means_of_channels_come_back(small_graph: MakeGraph, sounds: Sounds) -> None:
    proto, heard = small_graph(), sounds(8)
    plain, better = coarse(proto), corrected(proto, coarse, heard)

    def frames(each: onnx.ModelProto) -> list[np.ndarray]:
        session = open_graph(each)
        return [run(session, [sound])["frames"][0].mean(0) for sound in heard]

    wanted = np.mean(frames(proto), 0)
    off = [np.abs(np.mean(frames(each), 0) - wanted).max() for each in (plain, better)]
    assert off[1] < 0.05 * off[0]
    errors = [
        np.mean([np.abs(a - b).mean() for a, b in zip(frames(each), frames(proto), strict=True)])
        for each in (plain, better)
    ]
    assert errors[1] < errors[0]


def test_only_biases_change_and_the_float_graph_does_not(small_graph: MakeGraph, sounds: Sounds) -> None:
    proto = small_graph()
    written = proto.SerializeToString()
    made = corrected(proto, coarse, sounds(2))
    assert proto.SerializeToString() == written
    before, after = constants(coarse(proto)), constants(made)
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == set(BIASES)
