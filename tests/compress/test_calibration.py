"""Ranges against NumPy, over all sounds, and that nothing is printed where data goes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from earkit.compress.calibration import _OPTIONS, METHODS, Method, Ranges, by_all_methods, calibrate
from earkit.compress.graph import open_graph, run

MakeGraph = Callable[..., onnx.ModelProto]
Sounds = list[np.ndarray]


@pytest.fixture(scope="module")
def some(sounds: Callable[..., Sounds]) -> Sounds:
    """One of them is far louder than the others."""
    made = sounds(7)
    made[3] *= 4
    return made


@pytest.fixture(scope="module")
def ranges(small_graph: MakeGraph, some: Sounds) -> dict[str, Ranges]:
    return by_all_methods(small_graph(), some)


def values_of(proto: onnx.ModelProto, tensor: str, sounds: Sounds) -> np.ndarray:
    watched = onnx.ModelProto.FromString(proto.SerializeToString())
    del watched.graph.output[:]
    watched.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = open_graph(watched)
    return np.concatenate([run(session, [sound])[tensor].ravel() for sound in sounds])


@pytest.mark.parametrize("tensor", ["x", "turned", "mixed", "act", "mean"])
def test_ranges_are_those_of_all_sounds(
    small_graph: MakeGraph, some: Sounds, ranges: dict[str, Ranges], tensor: str
) -> None:
    values = values_of(small_graph(), tensor, some)
    low, high = ranges["min-max"][tensor]
    assert (low, high) == pytest.approx((min(values.min(), 0), max(values.max(), 0)), rel=1e-5)
    for method in ("percentile", "entropy"):
        inner = ranges[method][tensor]
        assert low - 1e-5 <= inner[0] < inner[1] <= high + 1e-5


def test_a_percentile_leaves_out_as_much_on_either_side(
    small_graph: MakeGraph, some: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth here, so that it shows in few values."""
    monkeypatch.setitem(_OPTIONS["percentile"], "percentile", 90.0)
    values = values_of(small_graph(), "x", some)
    found = calibrate(small_graph(), some, "percentile")["x"]
    bin_width = float(np.ptp(values)) / 2048
    assert found == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])), abs=30 * bin_width)
    assert found[1] < 0.5 * values.max()


@pytest.mark.parametrize("method", METHODS)
def test_it_does_not_matter_which_sound_comes_first(
    small_graph: MakeGraph, some: Sounds, ranges: dict[str, Ranges], method: Method
) -> None:
    """Of a silent one, bins as wide as it would fill no memory."""
    silent = np.full(4000, 1e-9, np.float32)
    found = [calibrate(small_graph(), each, method) for each in ([silent, *some], [*some[::-1], silent])]
    assert found[0] == found[1]
    assert found[0]["x"] == pytest.approx(ranges[method]["x"], rel=0.1)


def test_stdout_is_for_data(small_graph: MakeGraph, some: Sounds, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate(small_graph(), some[:1], "entropy")
    assert capsys.readouterr().out == ""


def test_a_step_graph_hears_the_whole_of_each_sound(step_graph: Path, some: Sounds) -> None:
    """The loudest hop is looked at, wherever it is; a hop has 160 samples."""
    energies = [
        float(np.square(np.pad(sound, (0, -len(sound) % 160)).reshape(-1, 160)).sum(1).max())
        for sound in some
    ]
    found = calibrate(onnx.load(step_graph), some, "min-max")["row"]
    assert found == pytest.approx((0, max(energies)), rel=1e-5)
