"""What a model file may hold, seen to before onnxruntime opens it.

A graph is a program. One without loops, branches, functions and operators of strangers ends, and reads no
other file. What depends on constants alone is computed while the file is opened, before any limit of memory
holds, so no more may be done with constants than storing weights takes. Everything that `kit export` and `kit
quantize` write keeps these rules.
"""

from collections.abc import Iterator

from earkit.runtime.protobuf import fields

DOMAINS = {b"", b"ai.onnx", b"com.microsoft"}
"""Operators of ONNX, and those that onnxruntime brings along."""

ON_CONSTANTS = {b"BitShift", b"BitwiseAnd", b"Cast", b"Concat", b"Constant", b"DequantizeLinear", b"Identity"}
ON_CONSTANTS |= {b"Mul", b"Reshape", b"Round", b"Squeeze", b"Sub", b"Transpose", b"Unsqueeze"}
"""Operators that make weights of what is stored."""

# Numbers of fields in onnx.proto.
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_NAME = 8
_TENSOR, _INNER_GRAPH, _TENSORS, _INNER_GRAPHS, _SPARSE, _SPARSES = 5, 6, 10, 11, 22, 23
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2


def broken_rule(model: memoryview) -> str:
    """Give what is in the way of opening an .onnx file, or nothing."""
    try:
        return next(_broken(model), "")
    except ValueError as error:
        return f"it is no ONNX: {error}"


def _broken(model: memoryview) -> Iterator[str]:
    graphs = 0
    for number, content in _messages(model):
        graphs += number == _GRAPH
        if number == _GRAPH:
            yield from _broken_in_graph(content)
        elif number in {_TRAINING, _FUNCTIONS}:
            yield "it holds functions of its own, or of training"
    if graphs != 1:
        yield "it is no ONNX: it holds no graph" if not graphs else "it holds several graphs"


def _broken_in_graph(graph: memoryview) -> Iterator[str]:
    for number, content in _messages(graph):
        if number == _NODE:
            yield from _broken_in_node(content)
        elif number == _INITIALIZER:
            yield from _broken_in_tensor(content)
        elif number == _SPARSE_INITIALIZER:
            yield from _broken_in_sparse(content)
    yield from _made_of_constants(graph)


def _made_of_constants(graph: memoryview) -> Iterator[str]:
    """Follow constants through the nodes, which stand in the order in which they run."""
    tensors = [content for number, content in _messages(graph) if number == _INITIALIZER]
    constant = {bytes(name) for tensor in tensors for number, name in _messages(tensor) if number == _NAME}
    for node in (content for number, content in _messages(graph) if number == _NODE):
        parts = [(number, bytes(content)) for number, content in _messages(node) if number != _ATTRIBUTE]
        if {name for number, name in parts if number == _INPUT and name} <= constant:
            constant |= {name for number, name in parts if number == _OUTPUT}
            if strangers := {name for number, name in parts if number == _OPERATOR} - ON_CONSTANTS:
                yield f"it computes {strangers.pop()[:50].decode(errors='replace')} of constants"


def _broken_in_node(node: memoryview) -> Iterator[str]:
    for number, content in _messages(node):
        if number == _DOMAIN and bytes(content) not in DOMAINS:
            yield f"it needs operators of {bytes(content)[:50].decode(errors='replace')!r}"
        if number == _ATTRIBUTE:
            yield from _broken_in_attribute(content)


def _broken_in_attribute(attribute: memoryview) -> Iterator[str]:
    for number, content in _messages(attribute):
        if number in {_INNER_GRAPH, _INNER_GRAPHS}:
            yield "it holds loops or branches"
        elif number in {_TENSOR, _TENSORS}:
            yield from _broken_in_tensor(content)
        elif number in {_SPARSE, _SPARSES}:
            yield from _broken_in_sparse(content)


def _broken_in_sparse(tensor: memoryview) -> Iterator[str]:
    for number, content in _messages(tensor):
        if number in {_SPARSE_VALUES, _SPARSE_INDICES}:
            yield from _broken_in_tensor(content)


def _broken_in_tensor(tensor: memoryview) -> Iterator[str]:
    if any(
        number == _EXTERNAL_DATA or (number == _DATA_LOCATION and content)
        for number, content in fields(tensor)
    ):
        yield "it keeps weights in other files"


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Fields that are messages or texts."""
    for number, content in fields(message):
        if isinstance(content, memoryview):
            yield number, content
