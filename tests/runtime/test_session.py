"""Settings of onnxruntime."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from earkit.runtime.errors import ConfigError
from earkit.runtime.model_file import REFUSALS
from earkit.runtime.session import MOST_BYTES, session_options
from earkit.runtime.threads import usable_threads


def test_threads_are_those_granted_or_asked_for() -> None:
    assert session_options().intra_op_num_threads == usable_threads()
    assert session_options(3).intra_op_num_threads == 3


def test_nothing_is_kept_for_each_length() -> None:
    options = session_options()
    assert not options.enable_mem_pattern


def test_threads_rest_between_clips() -> None:
    assert session_options().get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match="give 1 or more"):
        session_options(threads)


def test_a_graph_gets_no_more_memory_than_the_limit() -> None:
    """Two sessions share it."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
    ]
    size = helper.make_tensor_value_info("size", TensorProto.INT64, [1])
    total = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [])
    model = helper.make_model(
        helper.make_graph(nodes, "zeros", [size], [total]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    for _ in range(2):
        session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1))
        assert session.run(None, {"size": np.array([1000])}) == [0.0]
        with pytest.raises(REFUSALS):
            session.run(None, {"size": np.array([MOST_BYTES // 4])})
        assert session.run(None, {"size": np.array([1000])}) == [0.0]
