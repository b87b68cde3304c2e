"""The frames the detector sees, and its share with a network that we know."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from earkit.benchmarks.corpora.voice_activity import VoiceActivity, frames


@pytest.mark.parametrize("length", [1, 511, 512, 513, 1500])
def test_frames(length: int) -> None:
    samples = np.random.default_rng(0).normal(size=length).astype(np.float32)
    made = frames(samples)
    assert made.shape == (-(-length // 512), 576)
    for index, frame in enumerate(made):
        for place, value in enumerate(frame):
            at = index * 512 + place - 64
            assert value == (samples[at] if 0 <= at < length else 0)


def test_share_of_a_network_that_hears_loudness(tmp_path: Path) -> None:
    state = [1, 1, 128]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["input"], ["speech_probs"], axes=[1], keepdims=0),
            helper.make_node("Identity", ["h"], ["hn"]),
            helper.make_node("Identity", ["c"], ["cn"]),
        ],
        "loudness",
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 576]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("c", TensorProto.FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("speech_probs", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("hn", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("cn", TensorProto.FLOAT, state),
        ],
    )
    path = tmp_path / "loudness.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    samples = np.zeros(2048, np.float32)
    samples[600] = 0.9  # in the second of four frames, out of reach of the third
    samples[1700] = 0.4
    assert VoiceActivity(path).share(samples) == 0.25
