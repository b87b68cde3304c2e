"""The model file: what it takes, what it gives, and the description that it carries.

Inputs: `audio` float32 (batch, samples), mono in [-1, 1], zeros on the right where a clip is shorter than its
batch; `lengths` int64 (batch), samples that count. Outputs: see `OUTPUTS`. The description is one JSON value
in the ONNX metadata under the key `earkit`. Fields that this version does not know are left alone; what
changes its meaning gets a new schema number, and those are refused.
"""

import dataclasses
import json
import mmap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

from earkit.runtime.errors import CheckpointError, reason
from earkit.runtime.graph_rules import broken_rule
from earkit.runtime.seal import is_broken

KEY = "earkit"
SCHEMA = 1

INPUTS = ("audio", "lengths")
OUTPUTS = {
    "embedding": ("embedding",),
    "frames": ("frames", "frame_lengths"),
    "tokens": ("tokens", "frame_lengths"),
    "sparse": ("sparse_indices", "sparse_values"),
    "scores": ("scores",),
}
"""What a user asks for -> the outputs of the graph that hold it.

embedding: (batch, dim), of length one. frames: (batch, time, frame dim), zero behind a clip's end.
frame_lengths: int64 (batch). tokens: int64 (batch, time), -1 behind a clip's end. sparse_indices, int64, and
sparse_values: (batch, k_max), values falling. scores: (batch, classes), logits.
"""

# What onnxruntime raises over a file that is not as it should be; it has no class for them all.
REFUSALS = (
    *(refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph, refusals.InvalidProtobuf),
    *(refusals.NoSuchFile, refusals.NotImplemented, refusals.RuntimeException, refusals.NoModel),
)

_LARGEST = 1 << 31  # protobuf's own limit

T = TypeVar("T")


@dataclass(frozen=True)
class Tokens:
    """The inventory of the tokens: `size` codewords of one of the teacher's codebooks, counted from 0."""

    codebook: int
    codebooks: int
    size: int


@dataclass(frozen=True)
class Sparse:
    """k of `width` latents: the first k values of a row are its code, for any k from `k_min` to `k_max`."""

    width: int
    k: int
    k_min: int
    k_max: int


@dataclass(frozen=True)
class Stream:
    """A graph that is fed a stream in steps of whole hops.

    delay: frames by which its frames come later than their audio. states: further inputs, all zero at first;
    each is fed with the output `next_<name>` of the step before. An axis that is 0 is the batch.
    """

    delay: int
    states: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Latency:
    """Median time for one clip, batch 1."""

    seconds: float
    """Length of the clip."""
    threads: int
    milliseconds: float


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself. Samples are those of `sample_rate`."""

    schema: int
    name: str
    outputs: tuple[str, ...]
    """Those of the graph, but for the states of a stream."""
    dim: int
    """Width of the embedding."""
    frame_dim: int
    sample_rate: int
    hop: int
    """Samples per frame."""
    lookahead: int
    """Samples behind a frame's end that decide it."""
    context: int
    """Samples before a frame's beginning that decide it."""
    dims: tuple[int, ...] = ()
    """Widths to which the embedding may be cut, and then normalised."""
    tokens: Tokens | None = None
    sparse: Sparse | None = None
    classes: tuple[str, ...] = ()
    """What the scores score, in their order."""
    stream: Stream | None = None
    samples: int = 0
    """Of a graph of one shape, for phones: it takes one clip (or step) of so many samples; 0 is any."""
    precision: str = "float32"
    depth: int = 0
    """Blocks."""
    parameters: int = 0
    """Numbers in the file, the tables of its front end included."""
    megabytes: float = 0.0
    """Size of the graph, without this description."""
    teachers: tuple[str, ...] = ()
    data: str = ""
    licences: tuple[str, ...] = ()
    """Of the training data."""
    audio_seconds: float = 0.0
    """Heard in training."""
    steps: int = 0
    quality: dict[str, float] = field(default_factory=dict)
    """What was measured of the student, by name."""
    drift: dict[str, float] = field(default_factory=dict)
    """Largest difference to the network that was exported, by output; quantized, to the float file."""
    latency: tuple[Latency, ...] = ()
    machine: str = ""
    """On which latency was measured."""
    opset: int = 0
    operators: tuple[str, ...] = ()
    parent_sha256: str = ""
    """Of the float weights (`student.safetensors`) that this file was made of."""
    versions: dict[str, str] = field(default_factory=dict)
    card: str = ""
    """The model card, in Markdown."""

    def to_json(self) -> str:
        """Give what is written under `KEY`."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"), ensure_ascii=False)


def read_model_file(path: Path) -> ModelInfo:
    """Open a model file and read its description."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return describe(open_session(path, options), path)


def open_session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Open a file with onnxruntime on the CPU, or say in one sentence why it cannot be."""
    if not path.is_file():
        raise CheckpointError(f"there is no model file {path}: make one with `kit export`")
    if unfit := _unfit(path):
        raise CheckpointError(f"{path} cannot be used ({unfit}): copy it again, or export it again")
    try:
        # Its fallback would try the same again, and print so on stdout.
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except (*REFUSALS, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} cannot be opened by onnxruntime {onnxruntime.__version__} ({reason(error)}): "
            "export it again with `kit export`"
        ) from error


def _unfit(path: Path) -> str:
    """Give why onnxruntime should not even see a file, or nothing. An .ort file it checks itself."""
    if path.suffix == ".ort":
        return ""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not 0 < size < _LARGEST:
                return f"it has {size} bytes"
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as model:
                if is_broken(model):
                    return "its checksum is not its own: it was damaged, or changed by another program"
                return broken_rule(model)
    except OSError as error:
        return error.strerror or str(error)


def describe(session: onnxruntime.InferenceSession, path: Path) -> ModelInfo:
    """Read and check the description of an opened model file; `path` is for the sentence."""
    try:
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
    except UnicodeDecodeError as error:
        raise damaged(path, "its metadata is no text") from error
    if text is None:
        raise CheckpointError(
            f"{path} is an ONNX model but none of earkit's, it has no metadata `{KEY}`: "
            "export one with `kit export`"
        )
    info = parse(text, path)
    inputs, outputs = ({put.name for put in puts} for puts in (session.get_inputs(), session.get_outputs()))
    states = set(info.stream.states) if info.stream else set()
    if inputs != {*INPUTS, *states} or outputs != {*info.outputs, *(f"next_{name}" for name in states)}:
        raise damaged(path, "its inputs and outputs are not those that it describes")
    return info


def refuse_one_shape(info: ModelInfo, path: Path) -> None:
    """Refuse a graph that takes one length alone, where lengths vary."""
    if info.samples:
        raise CheckpointError(
            f"{path} takes {info.samples} samples and nothing else, for phones: give the file that it was "
            "made of, without -fixed in its name"
        )


def parse(text: str, path: Path) -> ModelInfo:
    """Undo `ModelInfo.to_json`, and refuse what cannot be."""
    try:
        values = json.loads(text)
        schema = values["schema"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, f"its metadata `{KEY}` is no description") from error
    if schema != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {schema!r}, and this version of earkit reads {SCHEMA}: "
            "update with `pip install -U earkit`, or export the model again"
        )
    try:
        info = _build(ModelInfo, values, "")
    except (TypeError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if impossible := _impossible(info):
        raise damaged(path, impossible)
    return info


def _impossible(info: ModelInfo) -> str:
    """Give why a description cannot be true, or nothing."""
    known = {*(name for names in OUTPUTS.values() for name in names), "frame_start"}
    has, sparse = set(info.outputs), info.sparse
    reasons = {
        "its outputs are not those of a model file": not has or not has <= known,
        "a width, rate or hop is below 1": min(info.dim, info.frame_dim, info.sample_rate, info.hop) < 1,
        "its look-ahead or context is below 0": min(info.lookahead, info.context) < 0,
        f"its dims are not all from 1 to {info.dim}": not all(1 <= dim <= info.dim for dim in info.dims),
        "it has tokens without an inventory, or the reverse": ("tokens" in has) != (info.tokens is not None),
        "it has a sparse code without its sizes, or the reverse": ("sparse_values" in has)
        != (sparse is not None),
        "its sparse code does not have 1 <= k_min <= k <= k_max <= width": sparse is not None
        and not 1 <= sparse.k_min <= sparse.k <= sparse.k_max <= sparse.width,
        "it has scores without classes, or the reverse": ("scores" in has) != bool(info.classes),
    }
    return next((each for each, true in reasons.items() if true), "")


def damaged(path: Path, how: str) -> CheckpointError:
    """Make the error that says so."""
    return CheckpointError(f"{path} is a damaged model file ({how}): export it again with `kit export`")


def _build(kind: type[T], values: Any, where: str) -> T:  # noqa: ANN401 - JSON is of any type
    """Make a dataclass of JSON, with every field of its declared type."""
    assert dataclasses.is_dataclass(kind)
    if not isinstance(values, Mapping):
        raise TypeError(f"{where.rstrip('.')} is no object")
    hints = typing.get_type_hints(kind)
    made = {}
    for item in dataclasses.fields(kind):
        if item.name in values:
            made[item.name] = _convert(hints[item.name], values[item.name], where + item.name)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}{item.name} is missing")
    return kind(**made)


def _convert(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - the same
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # only `X | None` occurs
        return None if value is None else _convert(arguments[0], value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, f"{where}.")
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], each, where) for each in value)
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{where} is not of type {getattr(kind, '__name__', kind)}")
    return value
