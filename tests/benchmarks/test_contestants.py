"""Sizes and multiply-adds of what is compared, against closed forms."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from earkit.benchmarks.contestants import contestant
from earkit.benchmarks.hearing import noise
from earkit.benchmarks.node_profile import node_runs
from earkit.compress.prune_cost import cost
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.student import StudentConfig

SMALL = {"size": "custom", "dim": 32, "depth": 2, "heads": 2, "bands": 20, "embedding_dim": 16}


def test_a_floor() -> None:
    floor = contestant("mfcc")
    assert (floor.opened, floor.parameters, floor.multiply_adds) == (("floor", "mfcc"), 0, None)


def test_a_model_file(clip_model: Path) -> None:
    made = contestant(str(clip_model))
    assert made.opened == ("file", str(clip_model))
    assert made.megabytes == clip_model.stat().st_size / 1e6
    assert made.graph_runs is not None
    (run,) = made.graph_runs(noise(1))
    assert run.outputs == ("embedding",)
    assert run.feeds["lengths"].tolist() == [16_000]
    assert node_runs(run)[0]


def test_a_student_in_torch(tmp_path: Path) -> None:
    """The closed form counts all but the pooling and the heads, which are done once a clip or are small."""
    config = StudentConfig(**SMALL)
    save_student(DistilledStudent(config, Outputs()), tmp_path / "student", Provenance())
    made = contestant(str(tmp_path))
    assert made.about == "student in torch"
    assert made.parameters == sum(p.numel() for p in DistilledStudent(config, Outputs()).parameters())
    assert made.megabytes == (tmp_path / "student" / "student.safetensors").stat().st_size / 1e6
    assert made.multiply_adds is not None
    counted, known = made.multiply_adds(noise(10)), cost(config).multiply_adds
    assert known <= counted < 1.05 * known


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    """Two graphs in a chain: frames of 160 samples, then windows of 4 of them, each 2 further."""

    def write(name: str, kind: str, weight: np.ndarray, shape: list, **attributes: object) -> None:
        graph = helper.make_graph(
            [helper.make_node(kind, ["x", "w"], ["y"], **attributes)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(weight.astype(np.float32), "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)

    write("a.onnx", "MatMul", np.ones((160, 3)), ["n", 160])
    write("b.onnx", "MatMul", np.ones((12, 5)), ["n", 12])
    (tmp_path / "embedder.toml").write_text(
        """
        dim = 5
        hop = 320
        span = 640
        parameters = 540
        [[graphs]]
        file = "a.onnx"
        input = "x"
        shape = [-1, 160]
        output = "y"
        [[graphs]]
        file = "b.onnx"
        input = "x"
        shape = [-1, 12]
        output = "y"
        [graphs.windows]
        size = 4
        hop = 2
        """
    )
    return tmp_path


def test_a_peer_of_two_graphs(peer: Path) -> None:
    made = contestant(str(peer))
    assert (made.about, made.parameters) == ("ONNX peer", 540)
    assert made.megabytes == sum((peer / f"{k}.onnx").stat().st_size for k in "ab") / 1e6
    assert made.graph_runs is not None
    assert made.multiply_adds is not None
    first, second = made.graph_runs(noise(1))
    assert (first.file.name, second.file.name) == ("a.onnx", "b.onnx")
    np.testing.assert_array_equal(first.feeds["x"], noise(1).reshape(100, 160))
    assert second.feeds["x"].shape == (49, 12)
    assert made.multiply_adds(noise(1)) == 100 * 160 * 3 + 49 * 12 * 5
    assert len(made.graph_runs(noise(1))) == 2  # recording ended
