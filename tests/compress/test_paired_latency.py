"""Times in turns: what repeats its work takes as many times as long."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from earkit.compress import paired_latency as module
from earkit.compress.paired_latency import paired_latency

MakeGraph = Callable[..., onnx.ModelProto]


def heavy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With 30 wide products more, which the embedding waits for and does not change by."""
    made = onnx.ModelProto.FromString(proto.SerializeToString())
    wide = np.zeros((16, 4096), np.float32)
    made.graph.initializer.append(numpy_helper.from_array(wide, "wide"))
    made.graph.initializer.append(numpy_helper.from_array(wide.T.copy(), "narrow"))
    place = next(i for i, node in enumerate(made.graph.node) if node.output[0] == "rose")
    before = "x"
    for i in range(30):
        nodes = (
            helper.make_node("MatMul", [before, "wide"], [f"w{i}"]),
            helper.make_node("MatMul", [f"w{i}", "narrow"], [f"n{i}"]),
            helper.make_node("Add", ["x", f"n{i}"], [f"x{i}"]),
        )
        for node in reversed(nodes):
            made.graph.node.insert(place + 3 * i, node)
        before = f"x{i}"
    next(node for node in made.graph.node if node.output[0] == "rose").input[0] = before
    onnx.checker.check_model(made)
    return made


def test_a_heavier_graph_is_slower_by_its_ratio(small_graph: MakeGraph) -> None:
    light = small_graph()
    (first, same), (one, alike), (long, ratio) = paired_latency([light, light, heavy(light)], 1, rounds=5)
    assert same == 1
    assert 0.3 < alike < 3
    assert ratio < 0.5
    assert long > 2 * min(first, one) > 0


def test_medians_and_ratios_are_of_the_rounds_that_count(
    small_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that is known: rounds take (9, 9), then (2, 1), (4, 8), (9, 3) seconds."""
    ends = np.cumsum([0, 9, 0, 9, 0, 2, 0, 1, 0, 4, 0, 8, 0, 9, 0, 3])
    monkeypatch.setattr(module, "perf_counter", iter(ends.astype(float)).__next__)
    made = paired_latency([small_graph(), small_graph()], 1, rounds=3)
    assert made == [(4000.0, 1.0), (3000.0, 2.0)]
