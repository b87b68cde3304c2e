"""Model files, damaged: cut and flipped, and rewritten so that they are valid ONNX that means something else.

File `index` of a seed is always the same for the same whole file.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from earkit.runtime.model_file import KEY

_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65_537, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
_VALUES: tuple[Any, ...] = (
    *_NUMBERS,
    None,
    True,
    "",
    "embedding",
    [],
    {},
    [[]],
    0.5,
    float("nan"),
    "\u0000",
    "x" * 100_000,
)
_OPERATORS = (
    *("Add", "MatMul", "Conv", "Reshape", "Concat", "Slice", "Gather", "Transpose", "TopK", "Softmax", "Pad"),
    *("Tile", "Expand", "Resize", "Range", "Cast", "Unsqueeze", "Squeeze", "Split", "NonZero", "ScatterND"),
    *(
        "DequantizeLinear",
        "QuantizeLinear",
        "MatMulInteger",
        "ConvInteger",
        "QLinearConv",
        "LayerNormalization",
    ),
    *("ConstantOfShape", "LSTM", "GRU", "RNN", "If", "Loop", "Scan", "StringNormalizer", "NoSuchOperator"),
    *("Einsum", "GridSample", "RoiAlign", "MaxUnpool", "OneHot", "CumSum", "Compress", "GatherND", "STFT"),
    *("BitShift", "Mod", "Div", "Unique", "SequenceAt", "Optional", "Attention", "Col2Im", "DepthToSpace"),
)
_STRANGE_OPERATORS = (
    *("FusedConv", "MatMulNBits", "QAttention", "DynamicQuantizeMatMul", "NGramRepeatBlock", "BeamSearch"),
    *("EPContext", "SparseToDenseMatMul", "TreeEnsembleRegressor", "Conv", "ReorderInput", "Tokenizer"),
)

Random = np.random.Generator


def damaged(whole: bytes, index: int, seed: int = 0) -> tuple[str, bytes]:
    """Damage a model file, .onnx or .ort; gives how, and the file."""
    rng = np.random.default_rng((seed, index))
    mutations = {"bits flipped": _bits_anywhere} if _is_ort(whole) else MUTATIONS
    mutations = mutations | {"truncated": _truncated, "overwritten": _overwritten}
    names = list(mutations)
    name = names[index % len(names)]
    return name, mutations[name](whole, rng)


def _is_ort(whole: bytes) -> bool:
    return whole[4:8] == b"ORTM"


def _truncated(whole: bytes, rng: Random) -> bytes:
    return whole[: int(rng.integers(0, len(whole)))]


def _bits(whole: bytes, rng: Random) -> bytes:
    """Among the weights little can go wrong, so half of the flips are outside of them."""
    made = bytearray(whole)
    outside = _outside_weights(whole)
    for _ in range(int(2 ** rng.uniform(0, 6))):
        place = (
            outside[int(rng.integers(0, len(outside)))]
            if rng.random() < 0.5
            else int(rng.integers(0, len(made)))
        )
        made[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(made)


def _bits_anywhere(whole: bytes, rng: Random) -> bytes:
    """In an .ort file, what is no weight stands at its ends."""
    made = bytearray(whole)
    for _ in range(int(2 ** rng.uniform(0, 8))):
        place = int(rng.integers(0, min(len(made), 1 << 16) if rng.random() < 0.8 else len(made)))
        made[place if rng.random() < 0.5 else -1 - place] ^= 1 << int(rng.integers(0, 8))
    return bytes(made)


def _outside_weights(whole: bytes) -> list[int]:
    model = onnx.load_from_string(whole)
    is_outside = np.ones(len(whole), bool)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 256 and (begin := whole.find(tensor.raw_data)) >= 0:
            is_outside[begin : begin + len(tensor.raw_data)] = False
    return [int(place) for place in np.flatnonzero(is_outside)]


def _overwritten(whole: bytes, rng: Random) -> bytes:
    length = int(2 ** rng.uniform(0, 14))
    begin = int(rng.integers(0, len(whole)))
    filled = [bytes(length), b"\xff" * length, rng.bytes(length)][int(rng.integers(0, 3))]
    return whole[:begin] + filled + whole[begin + length :]


Change = Callable[[onnx.ModelProto, Random], None]


def _rewritten(change: Change) -> Callable[[bytes, Random], bytes]:
    def mutate(whole: bytes, rng: Random) -> bytes:
        model = onnx.load_from_string(whole)
        change(model, rng)
        made: bytes = model.SerializeToString()
        return made

    return mutate


def _pick(rng: Random, things: Any) -> Any:  # noqa: ANN401 - of any kind
    return things[int(rng.integers(0, len(things)))]


def _description(model: onnx.ModelProto, rng: Random) -> None:
    """Lie in one to three fields of the description, or about the text itself."""
    (entry,) = (each for each in model.metadata_props if each.key == KEY)
    values = json.loads(entry.value)
    for _ in range(int(rng.integers(1, 4))):
        field = _pick(rng, sorted(values))
        nested = values[field]
        if isinstance(nested, dict) and nested and rng.random() < 0.7:
            nested[_pick(rng, sorted(nested))] = _pick(rng, _VALUES)
        elif rng.random() < 0.15:
            del values[field]
        else:
            values[field] = _pick(rng, _VALUES)
    entry.value = json.dumps(values)
    if rng.random() < 0.2:
        entry.value = _pick(rng, ["", "[" * 100_000, entry.value[:100], '{"schema": 1}', "null", "1e999"])


def _operators(model: onnx.ModelProto, rng: Random) -> None:
    for _ in range(int(rng.integers(1, 3))):
        _pick(rng, model.graph.node).op_type = _pick(rng, _OPERATORS)


def _inputs(model: onnx.ModelProto, rng: Random) -> None:
    """Feed nodes with what is another's, or with nothing."""
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    for _ in range(int(rng.integers(1, 4))):
        node = _pick(rng, [node for node in model.graph.node if node.input])
        node.input[int(rng.integers(0, len(node.input)))] = _pick(rng, [*names, "", "audio", "lengths"])


def _nodes(model: onnx.ModelProto, rng: Random) -> None:
    """Leave nodes out, double them, or change their order."""
    nodes = list(model.graph.node)
    at = int(rng.integers(0, len(nodes)))
    made = [
        nodes[:at] + nodes[at + 1 :],
        [*nodes, nodes[at]],
        list(reversed(nodes)),
        [nodes[int(place)] for place in rng.permutation(len(nodes))],
    ][int(rng.integers(0, 4))]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _attributes(model: onnx.ModelProto, rng: Random) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    for _ in range(int(rng.integers(1, 4))):
        attribute = _pick(rng, _pick(rng, nodes).attribute)
        if attribute.ints:
            attribute.ints[int(rng.integers(0, len(attribute.ints)))] = _pick(rng, _NUMBERS)
            if rng.random() < 0.2:
                attribute.ints.extend([1] * int(rng.integers(1, 1000)))
        elif attribute.type == onnx.AttributeProto.INT:
            attribute.i = _pick(rng, _NUMBERS)
        elif attribute.type == onnx.AttributeProto.FLOAT:
            attribute.f = _pick(rng, (0.0, -1.0, 1e38, float("nan"), float("inf")))
        elif attribute.type == onnx.AttributeProto.STRING:
            attribute.s = _pick(rng, (b"", b"SAME_UPPER", b"\xff\xfe", b"x" * 10_000))
        else:
            attribute.name = _pick(rng, ("axis", "pads", "value", "body"))


def _constants(model: onnx.ModelProto, rng: Random) -> None:
    """Change numbers that are shapes, axes, pads and places."""
    tensors = [each for each in model.graph.initializer if each.data_type == TensorProto.INT64]
    for _ in range(int(rng.integers(1, 4)) if tensors else 0):
        tensor = _pick(rng, tensors)
        values = onnx.numpy_helper.to_array(tensor).copy()
        if values.size:
            values.reshape(-1)[int(rng.integers(0, values.size))] = _pick(rng, _NUMBERS)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _weights(model: onnx.ModelProto, rng: Random) -> None:
    """Change the shape, type or bytes of weights, or make them no numbers."""
    tensor = _pick(rng, model.graph.initializer)
    match int(rng.integers(0, 5)):
        case 0:
            tensor.dims[:] = [_pick(rng, _NUMBERS) for _ in range(int(rng.integers(0, 5)))]
        case 1:
            tensor.data_type = int(rng.integers(0, 30))
        case 2:
            tensor.raw_data = tensor.raw_data[: int(rng.integers(0, len(tensor.raw_data) + 1))]
        case 3:
            tensor.raw_data += rng.bytes(int(rng.integers(1, 1000)))
        case _:
            size = len(tensor.raw_data)
            tensor.raw_data = (_pick(rng, [b"\x00\x00\xc0\x7f", b"\xff\xff\x7f\x7f", b"\xff"]) * size)[:size]


def _external(model: onnx.ModelProto, rng: Random) -> None:
    """Say that weights stand in another file."""
    tensor = _pick(rng, model.graph.initializer)
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    place = _pick(
        rng, ("/etc/passwd", "../" * 9 + "etc/passwd", "/dev/zero", "weights.bin", "", "/dev/stdin", ".")
    )
    tensor.external_data.add(key="location", value=place)
    if rng.random() < 0.7:
        tensor.external_data.add(key="offset", value=str(_pick(rng, (0, 1, 4096, 2**40, -1))))
        tensor.external_data.add(key="length", value=str(_pick(rng, (size, 0, 2**40, -1, "x"))))


def _custom(model: onnx.ModelProto, rng: Random) -> None:
    """Ask for operators that onnxruntime keeps for itself, or that nobody has."""
    domain = _pick(
        rng, ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "ai.onnx.ml", "", "evil")
    )
    model.opset_import.append(helper.make_opsetid(domain, int(_pick(rng, (1, 2, 5, 22, 99, -1)))))
    node = _pick(rng, model.graph.node)
    node.domain = domain
    if rng.random() < 0.6:
        node.op_type = _pick(rng, _STRANGE_OPERATORS)


def _versions(model: onnx.ModelProto, rng: Random) -> None:
    if rng.random() < 0.5:
        model.ir_version = int(_pick(rng, _NUMBERS))
    else:
        model.opset_import[0].version = int(_pick(rng, (0, 1, 5, 7, 9, 11, 13, 17, 25, 99, -1, 2**31)))


def _places(model: onnx.ModelProto, rng: Random) -> None:
    """Change names, types and shapes of what goes in and comes out."""
    put = _pick(rng, [*model.graph.input, *model.graph.output])
    tensor = put.type.tensor_type
    match int(rng.integers(0, 4)):
        case 0:
            put.name = _pick(
                rng, ("audio", "lengths", "", "\udcff".encode("utf-8", "replace").decode(), "x" * 99_999)
            )
        case 1:
            tensor.elem_type = int(rng.integers(0, 25))
        case 2:
            tensor.shape.dim.add().dim_value = 2**62
        case _:
            for dim in tensor.shape.dim:
                dim.dim_value = int(_pick(rng, _NUMBERS))


def _endless(model: onnx.ModelProto, rng: Random) -> None:
    """Make the sound pass through a loop that never ends, or that ends late."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_"]), helper.make_node("Identity", ["x"], ["x_"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on_", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_", TensorProto.FLOAT, None),
        ],
    )
    times = helper.make_tensor("times", TensorProto.INT64, [], [int(_pick(rng, (2**63 - 1, 2**40)))])
    model.graph.initializer.append(times)
    _before_all(model, helper.make_node("Loop", ["times", "", "audio"], ["looped"], body=body), "looped")


def _huge(model: onnx.ModelProto, rng: Random) -> None:
    """Make the sound pass through an array larger than this machine, or nearly so.

    Its size is a constant, or depends on the clips, so that it is not known when the file is opened.
    """
    amount = int(_pick(rng, (2**28, 2**30, 2**33, 2**40, 2**62)))
    match int(rng.integers(0, 4)):
        case 0:
            nodes = [helper.make_node("ConstantOfShape", ["size"], ["much"])]
        case 1:
            nodes = [helper.make_node("Expand", ["none", "size"], ["much"])]
        case 2:
            nodes = [helper.make_node("Tile", ["nones", "size"], ["much"])]
        case _:
            nodes = [
                helper.make_node("Squeeze", ["size"], ["size_"]),
                helper.make_node("Range", ["from", "size_", "step"], ["much_"]),
                helper.make_node("Cast", ["much_"], ["much"], to=TensorProto.FLOAT),
            ]
    known = "size"
    if rng.integers(0, 2):
        known = "amount"
        nodes[:0] = [
            helper.make_node("ReduceMin", ["lengths"], ["shortest"], keepdims=1),
            helper.make_node("Mul", ["shortest", "from"], ["nothing"]),
            helper.make_node("Add", ["nothing", "amount"], ["size"]),
        ]
    model.graph.initializer.extend(
        [
            helper.make_tensor(known, TensorProto.INT64, [1], [amount]),
            helper.make_tensor("none", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("nones", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("from", TensorProto.INT64, [], [0]),
            helper.make_tensor("step", TensorProto.INT64, [], [1]),
        ]
    )
    nodes.append(helper.make_node("ReduceMin", ["much"], ["least"], keepdims=0))
    nodes.append(helper.make_node("Add", ["audio", "least"], ["added"]))
    _before_all(model, nodes, "added")


def _before_all(model: onnx.ModelProto, first: Any, name: str) -> None:  # noqa: ANN401 - a node, or some
    """Put nodes that take `audio` before all others, which take `name` instead."""
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    for node in rest:
        node.input[:] = [name if put == "audio" else put for put in node.input]
    del model.graph.node[:]
    model.graph.node.extend([*(first if isinstance(first, list) else [first]), *rest])


def _nested(model: onnx.ModelProto, rng: Random) -> None:
    """Branch within branches, to the depth that protobuf still reads and beyond."""
    put = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["audio"], ["y"])], "g", [], [put])
    for _ in range(int(_pick(rng, (1, 5, 20, 30)))):
        node = helper.make_node(
            "If",
            ["yes"],
            ["y"],
            then_branch=graph,
            else_branch=graph
            if _pick(rng, (0, 0, 0, 1))
            else helper.make_graph([helper.make_node("Identity", ["audio"], ["y"])], "e", [], [put]),
        )
        graph = helper.make_graph([node], "g", [], [put])
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    _before_all(
        model, helper.make_node("If", ["yes"], ["deep"], then_branch=graph, else_branch=graph), "deep"
    )


def _functions(model: onnx.ModelProto, rng: Random) -> None:
    """Call a function of the file, which may call itself."""
    inner = helper.make_node(_pick(rng, ("Identity", "Again")), ["a"], ["b"])
    inner.domain = "" if inner.op_type == "Identity" else "ours"
    made = helper.make_function(
        "ours", "Again", ["a"], ["b"], [inner], [helper.make_opsetid("", 20), helper.make_opsetid("ours", 1)]
    )
    model.functions.append(made)
    model.opset_import.append(helper.make_opsetid("ours", 1))
    _before_all(model, helper.make_node("Again", ["audio"], ["again"], domain="ours"), "again")


MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": _truncated,
    "bits flipped": _bits,
    "overwritten": _overwritten,
    "description": _rewritten(_description),
    "operators": _rewritten(_operators),
    "inputs of nodes": _rewritten(_inputs),
    "nodes": _rewritten(_nodes),
    "attributes": _rewritten(_attributes),
    "constants": _rewritten(_constants),
    "weights": _rewritten(_weights),
    "external data": _rewritten(_external),
    "custom operators": _rewritten(_custom),
    "versions": _rewritten(_versions),
    "inputs and outputs": _rewritten(_places),
    "endless loop": _rewritten(_endless),
    "huge arrays": _rewritten(_huge),
    "nested branches": _rewritten(_nested),
    "functions": _rewritten(_functions),
}
