"""What depends on its batch, or on its step, is seen; by a loop over clips, and on graphs that do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from earkit.compress.graph import open_graph, run
from earkit.compress.int8 import dynamic_int8
from earkit.compress.invariance import invariance, together

MakeGraph = Callable[..., onnx.ModelProto]
Sounds = Callable[..., list[np.ndarray]]


def alone_and_together(proto: onnx.ModelProto, clips: list[np.ndarray]) -> float:
    session = open_graph(proto)
    return together(session, clips, [run(session, [clip]) for clip in clips])


def test_a_float_graph_gives_the_same_everywhere(small_graph: MakeGraph) -> None:
    assert invariance(small_graph()) == pytest.approx(1, abs=1e-5)


def test_what_takes_its_scale_from_a_batch_does_not(small_graph: MakeGraph, sounds: Sounds) -> None:
    clips = sounds(4)
    clips[2] *= 60
    assert alone_and_together(small_graph(), clips) > 0.99999
    dynamic = dynamic_int8(small_graph())
    session = open_graph(dynamic)
    batch = run(session, clips)
    found = []
    for i, clip in enumerate(clips):
        own = run(session, [clip])
        for name in ("embedding", "frames"):
            a, b = own[name][0], batch[name][i][: len(own[name][0])]
            found.append(float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())))
    assert alone_and_together(dynamic, clips) == pytest.approx(min(found), abs=1e-5)
    assert min(found) < 0.999


def test_a_stream_that_forgets_between_steps_does_not(
    step_graph: Path, write_step_graph: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(n).astype(np.float32) for n in (9_000, 4_001)]
    assert alone_and_together(onnx.load(step_graph), clips) == pytest.approx(1, abs=1e-5)
    text = ("next_past = Slice (energies, last_three, end, second)", "next_past = Sub (past, past)")
    forgetful = write_step_graph(step_graph.with_name("forgetful.onnx"), text)
    assert alone_and_together(onnx.load(forgetful), clips) < 0.999
