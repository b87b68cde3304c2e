"""Smaller weights in the file than in memory: each function makes a graph that stores less.

What they add are standard operators on constants. onnxruntime computes those once, when it opens the file; so
they cost time then and memory later, and neither speed up nor slow down a run.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from earkit.compress.graph import weights

Floats = NDArray[np.float32]

BLOCK = 64
"""Weights that share a multiplier of their own in `four_bits`; fewer where 64 does not divide them."""
LEAST = 256
"""Numbers that are worth the operators."""
_MOST = 15.9  # of a multiplier: 8 times it is an int8


def eight_bits(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights as int8 with a scale for each output channel, and compute in float."""
    made = deepcopy(proto)
    axes = _output_axes(made)
    for weight in list(made.graph.initializer):
        if weight.name not in axes:
            continue
        axis, name = axes[weight.name], weight.name
        values = numpy_helper.to_array(weight)
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(others), 1e-12) / 127
        rounded = np.round(values / np.expand_dims(scale, others)).astype(np.int8)
        stored = _constants(name, {"int8": rounded, "scale": scale.astype(np.float32)})
        _replace(
            made, weight, stored, [helper.make_node("DequantizeLinear", list(stored), [name], axis=axis)]
        )
    return made


def four_bits(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Store the int8 weights of a quantized graph in 4 bits, two to a byte; it computes in int8 as before.

    A block of a channel's weights z is stored as z = round(m q), q an integer from -8 to 7 and m a float16
    for the block. Not as ONNX's int4, which onnxruntime 1.20 cannot yet cast.
    """
    made = deepcopy(proto)
    axes = {n.input[0]: _axis(n) for n in made.graph.node if n.op_type == "DequantizeLinear"}
    shared: dict[str, NDArray[Any]] = {
        "four": np.array(4, np.uint8),
        "low": np.array(15, np.uint8),
        "middle": np.array(8, np.float32),
    }
    for number, weight in enumerate(list(made.graph.initializer)):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.int8 or values.ndim < 2 or values.size < LEAST or weight.name not in axes:
            continue
        blocks, along = _blocks(values.astype(np.float32), axes[weight.name])
        halved = next((axis for axis, size in enumerate(blocks.shape) if size % 2 == 0), None)
        if halved is None:
            continue
        q, multiplier = _nearest(blocks, along)
        first, second = np.split((q + 8).astype(np.uint8), 2, axis=halved)
        stored = _constants(
            f"four_bits/{number}",  # short: each name is written several times
            {
                "nibbles": first | (second << 4),
                "multiplier": multiplier.astype(np.float16),
                "shape": np.array(values.shape, np.int64),
            },
        )
        _replace(made, weight, stored, _unpacking(f"four_bits/{number}", halved, weight.name))
    made.graph.initializer.extend(_constants("four_bits", shared).values())
    return made


def half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Store float32 constants as float16, the tables of the front end included; it computes as before.

    Those that quantization brought stay: scales decide by what everything is multiplied.
    """
    made = deepcopy(proto)
    scales = {
        name
        for node in made.graph.node
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}
        for name in node.input[1:]
    }
    for constant in list(made.graph.initializer):
        values = numpy_helper.to_array(constant)
        if constant.data_type != TensorProto.FLOAT or values.size < LEAST or constant.name in scales:
            continue
        if np.abs(values).max() < np.finfo(np.float16).max:
            stored = _constants(constant.name, {"half": values.astype(np.float16)})
            cast = helper.make_node("Cast", list(stored), [constant.name], to=TensorProto.FLOAT)
            _replace(made, constant, stored, [cast])
    return made


def _output_axes(proto: onnx.ModelProto) -> dict[str, int]:
    """Give the axis of the output channels by name of each weight."""
    named = {each.name for each in weights(proto).values()}
    return {
        node.input[1]: 0
        if node.op_type == "Conv" or any(a.name == "transB" and a.i for a in node.attribute)
        else 1
        for node in proto.graph.node
        if len(node.input) > 1 and node.input[1] in named
    }


def _blocks(values: Floats, axis: int) -> tuple[Floats, int]:
    """Shape weights so that one axis runs within the blocks of a channel; give that axis too."""
    if axis == 0:
        along = values.size // values.shape[0]
        return values.reshape(values.shape[0], along // _size(along), _size(along)), 2
    along = values.shape[0]
    return values.reshape(along // _size(along), _size(along), values.shape[1]), 1


def _size(along: int) -> int:
    return next((size for size in (BLOCK, BLOCK // 2, BLOCK // 4) if along % size == 0), along)


def _nearest(blocks: Floats, along: int) -> tuple[Floats, Floats]:
    """Give q and m with the least square error of each block, out of some that clip its largest weights.

    There is one more number below zero than above: the sign of m says on which side it serves.
    """
    largest = np.maximum(np.abs(blocks).max(along, keepdims=True), 1) / 8
    best, found = np.full(largest.shape, np.inf), (np.zeros_like(blocks), largest)
    shares = np.linspace(0.7, 8 / 7, 19)
    for share in (*shares, *-shares):
        multiplier = np.clip(largest * share, -_MOST, _MOST).astype(np.float16).astype(np.float32)
        q = np.clip(np.round(blocks / multiplier), -8, 7)
        error = np.square(np.round(q * multiplier) - blocks).sum(along, keepdims=True)
        better = error < best
        best = np.where(better, error, best)
        found = np.where(better, q, found[0]), np.where(better, multiplier, found[1])
    return found


def _axis(node: NodeProto) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "axis"), 1)


def _unpacking(prefix: str, halved: int, weight: str) -> list[NodeProto]:
    """Bytes to int8 weights, as `four_bits` stores them: halves of the blocks in low and in high bits."""

    def of(*parts: str) -> list[str]:
        return [f"{prefix}/{part}" for part in parts]

    node = helper.make_node
    return [
        node("BitwiseAnd", [*of("nibbles"), "four_bits/low"], of("a")),
        node("BitShift", [*of("nibbles"), "four_bits/four"], of("b"), direction="RIGHT"),
        node("Concat", of("a", "b"), of("codes"), axis=halved),
        node("Cast", of("codes"), of("c"), to=TensorProto.FLOAT),
        node("Sub", [*of("c"), "four_bits/middle"], of("q")),
        node("Cast", of("multiplier"), of("m"), to=TensorProto.FLOAT),
        node("Mul", of("q", "m"), of("mq")),
        node("Round", of("mq"), of("r")),
        node("Cast", of("r"), of("z"), to=TensorProto.INT8),
        node("Reshape", of("z", "shape"), [weight]),
    ]


def _constants(name: str, parts: Mapping[str, NDArray[Any]]) -> dict[str, TensorProto]:
    return {f"{name}/{part}": numpy_helper.from_array(each, f"{name}/{part}") for part, each in parts.items()}


def _replace(
    proto: onnx.ModelProto, weight: TensorProto, stored: dict[str, TensorProto], nodes: list[NodeProto]
) -> None:
    """Put constants and the nodes that make the weight of them in its place."""
    proto.graph.initializer.remove(weight)
    proto.graph.initializer.extend(stored.values())
    for place, node in enumerate(nodes):
        proto.graph.node.insert(place, node)
