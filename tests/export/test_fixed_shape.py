"""A graph of one shape against the same student in torch, with torch's own approximation of GELU."""

import functools

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional as F

from earkit.distill.distilled import load_student
from earkit.export.fixed_shape import fixed_drift, fixed_shape
from earkit.export.student import Exported
from earkit.runtime.errors import CheckpointError
from earkit.runtime.inference import open_graph, run
from earkit.runtime.trial_sounds import sounds

SAMPLES = 20_000


@pytest.fixture(scope="module")
def fixed(exported: Exported) -> onnx.ModelProto:
    return fixed_shape(onnx.load(exported.file), SAMPLES)


def test_every_shape_is_known(fixed: onnx.ModelProto) -> None:
    graph = fixed.graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, SAMPLES]
    known = {each.name: each for each in (*graph.value_info, *graph.output)}
    for name in (name for node in graph.node for name in node.output if name):
        shape = known[name].type.tensor_type.shape
        assert all(axis.HasField("dim_value") for axis in shape.dim), name
    assert [(each.domain, each.version) for each in fixed.opset_import] == [("", 20)]
    assert not {"Gelu", "Shape", "Range"} & {node.op_type for node in graph.node}


def test_it_is_the_student_with_gelu_by_tanh(
    exported: Exported, fixed: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_student(exported.file.parent)
    monkeypatch.setattr(F, "gelu", functools.partial(F.gelu, approximate="tanh"))
    session = open_graph(fixed)
    for n in (SAMPLES, 7_001):
        clip = sounds((2.0,), seed=n)[0][:n]
        audio = np.zeros((1, SAMPLES), np.float32)
        audio[0, :n] = clip
        given = run(session, {"audio": audio, "lengths": np.array([n])})
        with torch.inference_mode():
            frames, _ = model.frames(torch.from_numpy(clip)[None], torch.tensor([n]))
            embedding = model.embed(torch.from_numpy(clip)[None], torch.tensor([n]))
        time = frames.shape[1]
        np.testing.assert_allclose(given["frames"][:, :time], frames, atol=1e-4)
        assert not given["frames"][:, time:].any()
        np.testing.assert_allclose(given["embedding"], embedding, atol=1e-4)


def test_a_graph_that_is_another_model_is_refused(exported: Exported, fixed: onnx.ModelProto) -> None:
    proto = onnx.load(exported.file)
    assert max(fixed_drift(proto, fixed, exported.info, SAMPLES).values()) < 1e-3
    wrong = onnx.ModelProto()
    wrong.CopyFrom(fixed)
    next(each for each in wrong.graph.initializer if each.name == "gelu/half").raw_data = np.float32(
        0.4
    ).tobytes()
    with pytest.raises(CheckpointError, match=r"of the graph of one shape has a cosine of 0\.\d+ to owl"):
        fixed_drift(proto, wrong, exported.info, SAMPLES)
