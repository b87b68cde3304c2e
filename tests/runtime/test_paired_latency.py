"""Times in turns: what repeats its work takes as many times as long."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from earkit.runtime import inference
from earkit.runtime import paired_latency as module
from earkit.runtime.paired_latency import paired_latency


def waves(count: int) -> onnx.ModelProto:
    """So many tangents, one after the other."""
    names = ["audio", *(f"x{i}" for i in range(count - 1)), "frames"]
    lines = "\n".join(f"{b} = Tanh ({a})" for a, b in pairwise(names))
    return onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]>\n'
        "g (float[batch, samples] audio, int64[batch] lengths)\n"
        f"  => (float[batch, samples] frames, int64[batch] frame_lengths)\n{{\n{lines}\n"
        "frame_lengths = Identity (lengths)\n}"
    )


def test_a_heavier_graph_is_slower_by_its_ratio() -> None:
    light, heavy = waves(1), waves(40)
    (first, same), (one, alike), (long, ratio) = paired_latency([light, light, heavy], 1, rounds=5)
    assert same == 1
    assert 0.3 < alike < 3
    assert ratio < 0.5
    assert long > 2 * min(first, one) > 0


def test_medians_and_ratios_are_of_the_rounds_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that is known: rounds take (9, 9), then (2, 1), (4, 8), (9, 3) seconds."""
    readings = np.cumsum([step for taken in (9, 9, 2, 1, 4, 8, 9, 3) for step in (0, 0, 0, taken)])
    monkeypatch.setattr(module, "SETTLE", 0.0)
    monkeypatch.setattr(module, "perf_counter", iter(readings.astype(float)).__next__)
    made = paired_latency([waves(1), waves(1)], 1, rounds=3)
    assert made == [(4000.0, 1.0), (3000.0, 2.0)]


def test_each_runs_until_it_has_settled_before_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that begin at 0 and find 3, 4 and 6 seconds gone; the next run, of 2 seconds, counts."""
    heard: list[object] = []
    monkeypatch.setattr(module, "_hear", lambda session, _: heard.append(session))
    monkeypatch.setattr(module, "SETTLE", 5.0)
    monkeypatch.setattr(module, "perf_counter", iter([0.0, 3.0, 4.0, 6.0, 6.0, 8.0] * 2).__next__)
    assert paired_latency([waves(1)], 1, rounds=1) == [(2000.0, 1.0)]
    assert len(heard) == 2 * 4


def test_a_step_graph_hears_ten_seconds_in_steps_of_80_ms(
    step_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    real = inference.run

    def counting(session: object, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        fed.append(inputs["audio"].shape[1])
        return real(session, inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(inference, "run", counting)
    monkeypatch.setattr(module, "SETTLE", 0.0)
    paired_latency([onnx.load(step_graph)], 1, rounds=1)
    assert fed == [1280] * 2 * 2 * 125  # to settle, and timed; in a round that counts and one that does not
