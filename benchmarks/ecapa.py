"""SpeechBrain's ECAPA-TDNN (Desplanques et al. 2020), from its torch checkpoint to ONNX.

The checkpoint is read as data; nothing in it is executed. Its authors' conventions where the paper leaves
room: activation before the batch norm, reflected edges, dilations of 2, 3 and 4 in the three blocks, mean
and deviation of the whole clip beside each frame in the attention.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from earkit.distill.teachers.torch_archive import TorchArchive
from earkit.runtime.atomic import replacing
from earkit.runtime.errors import CheckpointError

Weights = Mapping[str, NDArray[np.float32]]

DILATIONS = (2, 3, 4)
SCALE = 8  # parts of a Res2Net block
BATCH_NORM_EPSILON = 1e-5
SMALLEST_VARIANCE = 1e-12
OPSET = 17
IR_VERSION = 8


def convert(checkpoint: Path, out: Path) -> None:
    """Write `out`, which turns `features` (batch, time, bands) into `embedding` (batch, dim)."""
    with TorchArchive(checkpoint) as archive:
        if not isinstance(archive.content, dict):
            raise CheckpointError(f"{checkpoint} holds no state of a model")
        weights = {str(k): archive.tensor(v, str(k)).numpy() for k, v in archive.content.items()}
    try:
        model = ecapa(weights)
    except KeyError as error:
        raise CheckpointError(f"{checkpoint} is no ECAPA-TDNN: it lacks {error.args[0]}") from error
    with replacing(out) as temporary:
        temporary.write_bytes(model.SerializeToString())


def ecapa(weights: Weights) -> onnx.ModelProto:
    """Lay out the network around its weights, which decide all widths."""
    net = _Net(weights)
    x = net.add("Transpose", "features", perm=[0, 2, 1])  # (batch, bands, time) from here on
    x = net.tdnn(x, "blocks.0")
    outputs = []
    for number, dilation in enumerate(DILATIONS, start=1):
        x = net.se_res2net(x, f"blocks.{number}", dilation)
        outputs.append(x)
    x = net.tdnn(net.add("Concat", *outputs, axis=1), "mfa")
    pooled = net.batch_norm(net.attentive_statistics(x), "asp_bn.norm")
    net.add("Squeeze", net.conv(pooled, "fc"), net.constant(np.array([2])), output="embedding")
    features = helper.make_tensor_value_info(
        "features", TensorProto.FLOAT, ["batch", "time", weights["blocks.0.conv.conv.weight"].shape[1]]
    )
    embedding = helper.make_tensor_value_info(
        "embedding", TensorProto.FLOAT, ["batch", len(weights["fc.conv.bias"])]
    )
    graph = helper.make_graph(net.nodes, "ecapa", [features], [embedding], net.initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="earkit"
    )


class _Net:
    """Nodes and initializers of a graph under construction; every method gives the name of what it made."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - as ONNX has them
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, values: NDArray[np.float32] | NDArray[np.int64], name: str = "") -> str:
        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(self.weights[name], name)

    def conv(self, x: str, name: str, dilation: int = 1) -> str:
        """Convolve with edges reflected, so that the length stays."""
        kernel = self.weights[f"{name}.conv.weight"].shape[2]
        edge = dilation * (kernel - 1) // 2
        if edge:
            pads = np.array([0, 0, edge, 0, 0, edge])
            x = self.add("Pad", x, self.constant(pads), mode="reflect")
        parameters = [self.weight(f"{name}.conv.{kind}") for kind in ("weight", "bias")]
        return self.add("Conv", x, *parameters, dilations=[dilation])

    def batch_norm(self, x: str, name: str) -> str:
        kinds = ("weight", "bias", "running_mean", "running_var")
        parameters = [self.weight(f"{name}.{kind}") for kind in kinds]
        return self.add("BatchNormalization", x, *parameters, epsilon=BATCH_NORM_EPSILON)

    def tdnn(self, x: str, name: str, dilation: int = 1) -> str:
        x = self.add("Relu", self.conv(x, f"{name}.conv", dilation))
        return self.batch_norm(x, f"{name}.norm.norm")

    def se_res2net(self, x: str, name: str, dilation: int) -> str:
        """Lay out one block: its parts see ever more time, its channels are gated by the whole clip."""
        first, *others = self.split(self.tdnn(x, f"{name}.tdnn1"))
        parts = [first]
        for number, part in enumerate(others):
            fed = part if number == 0 else self.add("Add", part, parts[-1])
            parts.append(self.tdnn(fed, f"{name}.res2net_block.blocks.{number}", dilation))
        y = self.tdnn(self.add("Concat", *parts, axis=1), f"{name}.tdnn2")
        squeezed = self.add("ReduceMean", y, axes=[2])
        squeezed = self.add("Relu", self.conv(squeezed, f"{name}.se_block.conv1"))
        gate = self.add("Sigmoid", self.conv(squeezed, f"{name}.se_block.conv2"))
        return self.add("Add", self.add("Mul", y, gate), x)

    def split(self, x: str) -> list[str]:
        names = [f"{x}_part_{number}" for number in range(SCALE)]
        self.nodes.append(helper.make_node("Split", [x], names, axis=1))
        return names

    def attentive_statistics(self, x: str) -> str:
        """Pool under one attention per channel. (batch, channels, time) -> (batch, 2 * channels, 1)."""
        shape = self.add("Shape", x)
        around = [self.add("Expand", statistic, shape) for statistic in self.statistics(x)]
        seen = self.tdnn(self.add("Concat", x, *around, axis=1), "asp.tdnn")
        scores = self.conv(self.add("Tanh", seen), "asp.conv")
        attention = self.add("Softmax", scores, axis=2)
        return self.add("Concat", *self.statistics(x, attention), axis=1)

    def statistics(self, x: str, attention: str | None = None) -> tuple[str, str]:
        """Take mean and standard deviation over time, by weight where there is an attention."""
        mean = self.average(x, attention)
        deviation = self.add("Sub", x, mean)
        variance = self.average(self.add("Mul", deviation, deviation), attention)
        smallest = self.constant(np.array(SMALLEST_VARIANCE, np.float32))
        return mean, self.add("Sqrt", self.add("Max", variance, smallest))

    def average(self, x: str, attention: str | None) -> str:
        if attention is None:
            return self.add("ReduceMean", x, axes=[2])
        weighted = self.add("Mul", x, attention)
        return self.add("ReduceSum", weighted, self.constant(np.array([2])))
