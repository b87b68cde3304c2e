"""What quantization needs of a model file's graph: what in it has weights, and to run sounds through it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

FRONT_END = "student.log_mel/"
"""Nodes of the front end begin with it. Its values span 110 dB: they stay float."""
WEIGHING = ("MatMul", "Gemm", "Conv")

Samples = NDArray[np.float32]
Outputs = dict[str, NDArray[Any]]


def weights(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Give the weights by the name of the node that multiplies by them, the front end's apart."""
    constants = {each.name: each for each in proto.graph.initializer}
    return {
        node.name: constants[node.input[1]]
        for node in proto.graph.node
        if node.op_type in WEIGHING
        and node.input[1] in constants
        and len(constants[node.input[1]].dims) > 1
        and not node.name.startswith(FRONT_END)
    }


def copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give a graph to change."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    return made


def open_graph(proto: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a graph in memory; its threads rest between runs, so that several graphs can take turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(session: onnxruntime.InferenceSession, sounds: Sequence[Samples]) -> Outputs:
    """Run sounds as one batch, with zeros behind the shorter ones."""
    audio = np.zeros((len(sounds), max(map(len, sounds))), np.float32)
    for row, sound in zip(audio, sounds, strict=True):
        row[: len(sound)] = sound
    names = [output.name for output in session.get_outputs()]
    lengths = np.array([len(sound) for sound in sounds])
    return dict(zip(names, session.run(names, {"audio": audio, "lengths": lengths}), strict=True))
