"""A student as an ONNX graph: raw audio in, whatever was asked for out."""

import ast
import copy
import dataclasses
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.distilled import DistilledStudent
from earkit.distill.front_end import student_frames
from earkit.distill.losses.csr import squareplus
from earkit.export.folded_fourier import fold_front_end
from earkit.runtime.errors import ConfigError
from earkit.runtime.model_file import OUTPUTS

OPSET = 20
"""The first with GELU as one operator; onnxruntime 1.17 and later read it."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a model file gives: names out of `OUTPUTS`, by how many blocks, tokens of which codebook."""

    outputs: tuple[str, ...]
    depth: int
    codebook: int

    @property
    def names(self) -> tuple[str, ...]:
        """Outputs of the graph, each once."""
        return tuple(dict.fromkeys(name for output in self.outputs for name in OUTPUTS[output]))


def select(
    model: DistilledStudent,
    outputs: Sequence[str] = (),
    depth: int | None = None,
    codebook: int | None = None,
    *,
    streaming: bool = False,
) -> Selection:
    """Check what is asked for; without `outputs` it is all that the student has, tokens of the last codebook.

    depth: leave an elastic student after so many blocks; that was learnt for its embedding alone. streaming:
    leave out what only a whole clip has.
    """
    has, full = model.outputs, model.config.depth
    depth = full if depth is None else depth
    if depth != full and not has.elastic:
        raise ConfigError(
            f"this student was not distilled with --elastic: it gives nothing before depth {full}"
        )
    if not 1 <= depth <= full:
        raise ConfigError(f"depth {depth} is not one of this student's: take 1 to {full}")
    there = {
        "embedding": not streaming,
        "frames": True,
        "tokens": depth == full and has.codebooks > 0,
        "sparse": depth == full and has.sparse is not None and not streaming,
        "scores": depth == full and bool(has.classes) and not streaming,
    }
    for name in outputs:
        if not there.get(name):
            known = ", ".join(name for name, is_there in there.items() if is_there)
            where = f"{f' at depth {depth}' if depth < full else ''}{' in a stream' if streaming else ''}"
            raise ConfigError(f"this student gives no {name}{where}: take some of {known}")
    if codebook is not None and not 0 <= codebook < has.codebooks:
        raise ConfigError(
            f"there is no codebook {codebook}: this student has {has.codebooks}, the first is 0"
        )
    asked = tuple(name for name in OUTPUTS if there[name] and (not outputs or name in outputs))
    return Selection(asked, depth, max(0, has.codebooks - 1) if codebook is None else codebook)


class ClipGraph(nn.Module):
    """What the graph of whole clips computes; `given` is in the order of `selection.names`."""

    def __init__(self, model: DistilledStudent, selection: Selection) -> None:
        super().__init__()
        self.model, self.selection = model, selection
        self.token_head = token_head(model, selection.codebook) if "tokens" in selection.outputs else None

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """(batch, samples), (batch,) -> the outputs."""
        frames, valid = self.model.frames(audio, lengths, self.selection.depth)
        given = {"frames": frames, "frame_lengths": student_frames(lengths)}
        names = self.selection.names
        if self.token_head is not None:
            given["tokens"] = torch.where(valid, self.token_head(frames).argmax(-1), -1)
        if {"embedding", "sparse_values", "scores"} & set(names):
            given |= of_clips(self.model, self.model.student.pool(frames, valid), names)
        return tuple(given[name] for name in names)


def token_head(model: DistilledStudent, codebook: int) -> nn.Linear:
    """Give the part of the token head that is for one codebook: logits of its codewords."""
    assert model.token_head is not None
    size = model.outputs.codebook_size
    own = slice(codebook * size, (codebook + 1) * size)
    head = nn.Linear(model.config.dim, size)
    head.load_state_dict({name: each[own] for name, each in model.token_head.state_dict().items()})
    return head


def of_clips(model: DistilledStudent, pooled: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Give what is made of pooled frames (batch, embedding dim), before their normalisation."""
    embedding = F.normalize(pooled, dim=-1)
    given = {"embedding": embedding}
    if "sparse_values" in names:
        assert model.sparse is not None
        values, indices = model.sparse.latents(embedding).topk(model.sparse.config.k_max, dim=1)
        given |= {"sparse_indices": indices, "sparse_values": squareplus(values)}
    if "scores" in names:
        assert model.classifier is not None
        given["scores"] = model.classifier(pooled)
    return given


def folded(model: DistilledStudent) -> DistilledStudent:
    """Give a copy with the cheaper front end."""
    made = copy.deepcopy(model).eval()
    fold_front_end(made.student)
    return made


def clip_graph(model: DistilledStudent, selection: Selection) -> onnx.ModelProto:
    """Make the graph of whole clips."""
    example = {"audio": torch.zeros(2, 12_345), "lengths": torch.tensor([12_345, 6_000])}
    return to_onnx(ClipGraph(folded(model), selection), example, selection.names)


def to_onnx(network: nn.Module, example: dict[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """Trace a network and make it a checked ONNX model, initialisers inside.

    example: inputs by name, with a batch of 2 or more: the exporter takes 0 and 1 for constants. The batch,
    and the samples of `audio`, are left open.
    """
    free = torch.export.Dim.DYNAMIC
    axes = tuple({0: free, 1: free} if name == "audio" else {0: free} for name in example)
    with _quiet():
        program = torch.onnx.export(
            network.eval(),
            tuple(example.values()),
            input_names=list(example),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=axes,
            verbose=False,
        )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    _tidy(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's talk of packages and internals that are no concern of ours."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


_SECOND_AXIS = {"audio": "samples", "frames": "time", "tokens": "time"}


def _tidy(proto: onnx.ModelProto) -> None:
    """Name nodes by their place in the network and axes by what they are; drop traces of the exporter.

    The exporter notes for each node the lines of source that made it, with paths of this machine.
    """
    seen: Counter[str] = Counter()
    for node in proto.graph.node:
        place = f"{_place(node)}/{node.op_type}"
        node.name = f"{place}_{seen[place]}" if seen[place] else place
        seen[place] += 1
    for thing in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del thing.metadata_props[:]
        thing.doc_string = ""
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
    proto.graph.doc_string = ""
    proto.graph.name = "earkit"
    for put in (*proto.graph.input, *proto.graph.output):
        names = ("batch", _SECOND_AXIS.get(put.name, ""))
        for axis, name in zip(put.type.tensor_type.shape.dim, names, strict=False):
            if name:
                axis.dim_param = name


def _place(node: onnx.NodeProto) -> str:
    """Name the module that a node is of, such as `student.log_mel`; empty for the graph's own."""
    for prop in node.metadata_props:
        if prop.key == "pkg.torch.onnx.name_scopes":
            scopes: list[str] = ["", *ast.literal_eval(prop.value)]
            place = scopes[-2]
            return "" if place.startswith("_") else place.removeprefix("model").removeprefix(".")
    return ""
