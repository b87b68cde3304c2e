"""A graph of one shape: what the accelerators of phones (NNAPI, CoreML) take.

They want to know every shape before they begin, and not all have GELU. So there is one clip (or one step of a
stream) of so many samples, what follows from that is computed now, and GELU is its approximation by tanh
(Hendrycks and Gimpel 2016), in operators that all of them have:

    gelu(x)  ~  x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
"""

import copy
import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, helper, numpy_helper
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

from earkit.runtime.errors import CheckpointError
from earkit.runtime.inference import cosine, open_graph, pad, play, run
from earkit.runtime.model_file import ModelInfo
from earkit.runtime.trial_sounds import sounds

LEAST_COSINE = 0.999
"""To the graph that it is made of: the approximation is off by up to 5e-4 in every GELU."""
_WANTS = ["ReshapeFusion", "MatMulAddFusion", "QDQPropagationTransformer", "GeluFusionL1"]
"""Optimizers that would make operators of others, or more of them."""
_CONSTANTS = {
    "gelu/cube": 0.044715 * math.sqrt(2 / math.pi),
    "gelu/linear": math.sqrt(2 / math.pi),
    "gelu/one": 1.0,
    "gelu/half": 0.5,
}


def fixed_shape(proto: onnx.ModelProto, samples: int) -> onnx.ModelProto:
    """Fix the batch to 1 and the audio to so many samples."""
    made = copy.deepcopy(proto)
    for name, size in (("batch", 1), ("samples", samples)):
        make_dim_param_fixed(made.graph, name, size)
    made = _computed(made)
    _tanh_gelu(made.graph)
    domains = {node.domain for node in made.graph.node}
    others = [each for each in made.opset_import if each.domain not in domains]
    for each in others:
        made.opset_import.remove(each)
    del made.graph.value_info[:]
    made = onnx.shape_inference.infer_shapes(made, data_prop=True)
    onnx.checker.check_model(made, full_check=True)
    return made


def _computed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Let onnxruntime compute what does not depend on the sound."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "computed.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(
            proto.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_WANTS,
        )
        return onnx.load(file)


def _tanh_gelu(graph: onnx.GraphProto) -> None:
    """Put its approximation in the place of every GELU."""
    places = [i for i, node in enumerate(graph.node) if node.op_type == "Gelu"]
    for i in reversed(places):
        old = graph.node[i]
        nodes = _approximation(old.name, old.input[0], old.output[0])
        graph.node.remove(old)
        for node in reversed(nodes):
            graph.node.insert(i, node)
    if places:
        graph.initializer.extend(
            numpy_helper.from_array(np.array(value, np.float32), name) for name, value in _CONSTANTS.items()
        )


def _approximation(name: str, x: str, y: str) -> list[NodeProto]:
    def node(operator: str, *puts: str) -> NodeProto:
        *inputs, output = puts
        return helper.make_node(operator, inputs, [output], name=f"{name}/of/{output}")

    square, scaled, factor, inner, bounded, shifted, product = (f"{y}/gelu_{i}" for i in range(7))
    return [
        node("Mul", x, x, square),
        node("Mul", square, "gelu/cube", scaled),
        node("Add", scaled, "gelu/linear", factor),
        node("Mul", factor, x, inner),
        node("Tanh", inner, bounded),
        node("Add", bounded, "gelu/one", shifted),
        node("Mul", shifted, x, product),
        node("Mul", product, "gelu/half", y),
    ]


def fixed_drift(
    proto: onnx.ModelProto, fixed: onnx.ModelProto, info: ModelInfo, samples: int
) -> dict[str, float]:
    """Give 1 minus the least cosine to the graph that it is made of, by output, or refuse it."""
    whole, own = open_graph(proto), open_graph(fixed)
    found: dict[str, float] = {}
    for clip in sounds((0.3, 1.0, 2.0)):
        heard = clip if info.stream else clip[:samples]
        if info.stream:
            before, after = play(whole, [heard]), play(own, [heard])
        else:
            before = run(whole, pad([heard]))
            inputs = pad([heard, np.zeros(samples, np.float32)])  # the second one for its length alone
            after = run(own, {name: each[:1] for name, each in inputs.items()})
        for name in {"embedding", "frames", "scores"} & set(before):
            likeness = cosine(before[name], after[name].ravel()[: before[name].size])
            found[name] = float(np.maximum(found.get(name, 0.0), round(1 - likeness, 6)))  # NaN stays
    for name, drift in found.items():
        if not drift <= 1 - LEAST_COSINE:
            raise CheckpointError(
                f"{name} of the graph of one shape has a cosine of {1 - drift:.4f} to {info.name}, and "
                f"{LEAST_COSINE:g} is the least: leave out --mobile"
            )
    return found
