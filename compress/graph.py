"""What quantization needs of a model file's graph: what in it has weights, and to run sounds through it."""

from collections.abc import Iterator, Sequence

import onnx
import onnxruntime

from earkit.distill.front_end import FRAME
from earkit.runtime import inference
from earkit.runtime.inference import Arrays, Samples, open_graph, pad, play, steps, zero_states

__all__ = ["FRONT_END", "JUDGED_BY", "WEIGHING", "Outputs", "Samples"]
__all__ += ["heard", "open_graph", "run", "weights"]

FRONT_END = "student.log_mel/"
"""Nodes of the front end begin with it. Its values span 110 dB: they stay float."""
WEIGHING = ("MatMul", "Gemm", "Conv")
JUDGED_BY = ("embedding", "scores", "frames")
"""A file must give one of them; the first that it gives stands for a clip."""

Outputs = Arrays


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


def run(session: onnxruntime.InferenceSession, sounds: Sequence[Samples]) -> Outputs:
    """Run sounds as one batch, with zeros behind the shorter ones; a step graph hears them in one step."""
    if zero_states(session, 1):
        return play(session, sounds, _whole(sounds))
    return inference.run(session, pad(sounds))


def heard(session: onnxruntime.InferenceSession, sound: Samples) -> Iterator[tuple[Arrays, Arrays]]:
    """Give all that goes in and comes out to hear a sound: a step graph is late, so it is run once more."""
    if zero_states(session, 1):
        yield from steps(session, [sound], _whole([sound]))
    else:
        inputs = pad([sound])
        yield inputs, inference.run(session, inputs)


def _whole(sounds: Sequence[Samples]) -> int:
    """Whole frames for the longest of them, in samples."""
    return -(-max(map(len, sounds)) // FRAME) * FRAME
