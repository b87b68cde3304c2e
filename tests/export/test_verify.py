"""That the gate closes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from earkit.distill.distilled import load_student
from earkit.export.graph import select
from earkit.export.student import Exported
from earkit.export.verify import differences, refuse_drift, verify
from earkit.runtime.errors import CheckpointError


@pytest.mark.parametrize(
    ("weight", "named"), [("classifier.bias", "scores"), ("sparse.encoder.bias", "sparse_values")]
)
def test_a_changed_graph_is_caught(exported: Exported, weight: str, named: str) -> None:
    proto = onnx.load(exported.file)
    changed = [each for each in proto.graph.initializer if each.name == f"model.{weight}"]
    for each in changed:
        value = numpy_helper.to_array(each) + np.float32(5e-3)
        each.CopyFrom(numpy_helper.from_array(value, each.name))
    assert changed
    model, _ = load_student(exported.file.parent)
    with pytest.raises(CheckpointError, match=rf"{named} of the exported graph is off by \S+ in a clip of "):
        verify(proto, model, select(model))


def test_a_token_may_differ_only_where_its_logit_is_as_good() -> None:
    logits = torch.tensor([[[0.0, 1.0, 1.0 - 1e-6], [2.0, 0.0, 1.0]]])
    wanted = {"frames": torch.zeros(1, 2, 4), "tokens": logits}
    for tokens, loss in (
        ([1, 0], 0.0),
        ([2, 0], 1e-6),
        ([1, 2], 1.0),
        ([1, 0, -1], 0.0),
        ([1, 0, 0], np.inf),
    ):
        found = differences({"tokens": np.array([tokens])}, wanted)["tokens"]
        assert found == pytest.approx(loss, rel=0.1)


def test_a_latent_may_differ_only_where_its_value_is_as_large() -> None:
    wanted = {"frames": torch.zeros(1, 1, 4), "sparse": torch.tensor([[0.5, 3.0, 2.0, 2.0 - 1e-6]])}
    for indices, values, loss in (
        ([1, 2], [3.0, 2.0], 0.0),
        ([1, 3], [3.0, 2.0], 1e-6),
        ([1, 0], [3.0, 0.5], 1.5),
        ([2, 1], [2.0, 3.0], 1.0),
        ([1, 1], [3.0, 3.0], np.inf),
    ):
        given = {"sparse_indices": np.array([indices]), "sparse_values": np.array([values], np.float32)}
        assert differences(given, wanted)["sparse_values"] == pytest.approx(loss, rel=0.1, abs=1e-7)


def test_padding_that_is_not_zero_and_values_that_are_not_finite_are_differences() -> None:
    wanted = {"frames": torch.zeros(1, 2, 1), "embedding": torch.zeros(1, 3)}
    behind = np.array([[[0.0], [0.0], [0.25]]], np.float32)
    found = differences({"frames": behind, "embedding": np.array([[0, np.nan, 0]], np.float32)}, wanted)
    assert found == {"embedding": np.inf, "frames": 0.25}
    refuse_drift({"frames": 1e-4}, "here")
    with pytest.raises(CheckpointError, match="embedding of the exported graph is off by inf here"):
        refuse_drift(found, "here")
