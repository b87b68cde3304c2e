"""Which nodes have weights, and that a batch is padded with zeros behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from earkit.compress.graph import heard, open_graph, run, weights

MakeGraph = Callable[..., onnx.ModelProto]


def test_weights_are_the_constants_that_nodes_multiply_by_but_the_front_ends(small_graph: MakeGraph) -> None:
    found = {node: weight.name for node, weight in weights(small_graph()).items()}
    assert found == {
        "rise/MatMul": "rise",
        "fall/MatMul": "fall",
        "depthwise/Conv": "depthwise",
        "token_head/MatMul": "token_head",
        "project/Gemm": "project",
    }


def test_products_of_two_tensors_have_none(small_graph: MakeGraph) -> None:
    proto = small_graph()
    node = next(node for node in proto.graph.node if node.name == "rise/MatMul")
    node.input[1] = "heard"
    assert "rise/MatMul" not in weights(proto)


def test_a_batch_gives_what_each_sound_gives(small_graph: MakeGraph, sounds: Callable[..., list]) -> None:
    session = open_graph(small_graph())
    three = sounds(3)
    together = run(session, three)
    for i, sound in enumerate(three):
        alone = run(session, [sound])
        time = -(-len(sound) // 640)
        assert alone["frames"].shape == (1, time, 16)
        np.testing.assert_allclose(together["embedding"][i], alone["embedding"][0], atol=1e-6)
        np.testing.assert_allclose(together["frames"][i, :time], alone["frames"][0], atol=1e-6)
        assert not together["frames"][i, time:].any()


def test_the_small_graph_is_what_numpy_makes_of_its_constants(
    small_graph: MakeGraph, sounds: Callable[..., list]
) -> None:
    """So that what other tests compute by hand is what the graph computes."""
    proto = small_graph()
    c = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    (sound,) = sounds(1)
    time = -(-len(sound) // 640)
    windows = np.pad(sound, (0, 640 * time - len(sound))).reshape(time, 640)
    x = windows @ c["front"][:, 0].T
    fallen = np.tanh(x @ c["rise"] + c["rise_bias"]) @ c["fall"] + c["fall_bias"]
    near = np.pad(fallen, ((1, 1), (0, 0)))
    frames = sum(near[i : i + time] * c["depthwise"][:, 0, i] for i in range(3)) + c["depthwise_bias"]
    given = run(open_graph(proto), [sound])
    np.testing.assert_allclose(given["frames"][0], frames, atol=1e-4)
    embedding = frames.mean(0) @ c["project"].T + c["project_bias"]
    np.testing.assert_allclose(given["embedding"][0], embedding / np.linalg.norm(embedding), atol=1e-4)


def test_a_step_graph_hears_a_sound_as_the_graph_of_clips_does(
    step_graph: Path, clip_model: Path, sounds: Callable[..., list]
) -> None:
    session, clips = open_graph(onnx.load(step_graph)), sounds(2, seconds=0.12)
    given, wanted = run(session, clips), run(open_graph(onnx.load(clip_model)), clips)
    for i, length in enumerate(wanted["frame_lengths"]):
        np.testing.assert_allclose(given["frames"][i, :length], wanted["frames"][i, :length], rtol=1e-5)
        assert given["tokens"][i, :length].tolist() == wanted["tokens"][i, :length].tolist()
    fed = [inputs["lengths"].tolist() for inputs, _ in heard(session, clips[0])]
    assert fed == [[1920], [0]]  # the sound in one step, and what comes later than it
