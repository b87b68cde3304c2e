"""ONNX embedders as teachers: a small TOML beside the model files says how audio goes in and frames come out.

Audio is resampled to the model's rate, scaled and padded, cut into chunks where the model takes a fixed
length, turned into log-mel where it takes that, and led through one graph or a chain of them. Each clip runs
alone: no graph that others exported promises to mask, so only then is a clip's result independent of its
batch. onnxruntime executes no code out of a model; what could reach beyond the folder is refused here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnx
import onnxruntime
import soxr
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as refusals
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from earkit.distill.config import read_config
from earkit.distill.teachers.huggingface import TeacherFrames, TeacherInfo
from earkit.distill.teachers.mel_front_ends import SAMPLE_RATE, speechbrain_fbank, whisper_log_mel
from earkit.distill.teachers.resolve import EMBEDDER
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError
from earkit.runtime.threads import usable_threads

Values = NDArray[np.float32]

"""Descriptions of known models; the models themselves are not shipped."""

# What onnxruntime raises over a file or input that is not as it should be; it has no class for them all.
_REFUSALS = (
    *(refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph, refusals.InvalidProtobuf),
    *(refusals.NoSuchFile, refusals.NotImplemented, refusals.RuntimeException, refusals.NoModel),
)


@dataclass(frozen=True)
class Windows:
    """Overlapping windows over the frames of the graph before, each one an entry of the batch."""

    size: int
    hop: int


@dataclass(frozen=True)
class Graph:
    """One model file of a chain.

    shape: of the input, with one -1 for what varies. The output, whatever its shape, is read as frames of
    its last axis, times `multiply` plus `add`.
    """

    file: str
    input: str
    output: str
    shape: tuple[int, ...]
    windows: Windows | None = None
    multiply: float = 1.0
    add: float = 0.0


@dataclass(frozen=True)
class Embedder:
    """What the TOML says; samples are those of the model's own rate.

    scale: times audio in [-1, 1]; 32768 for a model that learnt from 16-bit integers. pad: silence before and
    behind the clip. chunk: samples that the model takes at a time, filled up with silence, 0 for any number.
    span: samples that the first frame needs, padding included, or the shortest clip of a model that gives one
    `vector` per clip; each further `hop` makes one more frame. first_centre: where in the clip the middle of
    the first frame lies.
    """

    graphs: tuple[Graph, ...]
    dim: int
    span: int
    hop: float = 0.0
    first_centre: float = 0.0
    vector: bool = False
    sample_rate: int = SAMPLE_RATE
    scale: float = 1.0
    pad: tuple[int, int] = (0, 0)
    chunk: int = 0
    features: Literal["audio", "whisper_log_mel", "speechbrain_fbank"] = "audio"
    parameters: int = 0
    licence: str = "unknown"


class OnnxTeacher:
    """A frozen ONNX model with the interface of `huggingface.Teacher`: its frames are layer 1, its only one.

    One that gives a vector per clip has no layer, hop or frame at all. Runs on the CPU; what it gives lies on
    the device of the audio.
    """

    sample_rate = SAMPLE_RATE  # of the audio that `features` takes, not of the model
    attention_heads = 0
    gives_input = False  # its layer 0 is nowhere to be seen
    dinosr = None

    def __init__(self, name: str, embedder: Embedder, folder: Path) -> None:
        """Open the graphs that `embedder` names in `folder`."""
        self.name = name
        self.embedder = embedder
        self.dim = embedder.dim
        self.vector = embedder.vector
        self.layers = 0 if embedder.vector else 1
        ratio = SAMPLE_RATE / embedder.sample_rate
        self.hop = embedder.hop * ratio
        self.first_centre = embedder.first_centre * ratio
        self.sessions = [_open(folder, graph) for graph in embedder.graphs]

    def to(self, device: torch.device | str) -> Self:  # noqa: ARG002 - the interface of a teacher
        """Stay where it is."""
        return self

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames made of so many samples; none by a teacher of vectors. (batch,) -> (batch,)."""
        return torch.zeros_like(lengths) if self.vector else self._count(lengths, self.embedder.hop)

    def features(
        self,
        audio: Tensor,
        lengths: Tensor,
        layers: Sequence[int] | None = None,
        *,
        ffn: Sequence[int] = (),
        attention: Sequence[int] = (),
        codes: bool = False,
    ) -> TeacherFrames:
        """Run the model. audio: (batch, samples) at 16 kHz, padded on the right; lengths: (batch,)."""
        layers = range(1, self.layers + 1) if layers is None else layers
        if ffn or attention or codes or not set(layers) <= set(range(1, self.layers + 1)):
            what = "one vector per clip" if self.vector else "frames, its layer 1"
            raise ConfigError(f"{self.name} is an ONNX model and gives {what}, and nothing else")
        self._check(audio, lengths)
        frame_lengths = self.frame_lengths(lengths.to(audio.device))
        if not layers and not self.vector:
            return TeacherFrames(frame_lengths)
        clips = audio.detach().float().cpu().numpy()
        counted = zip(clips, lengths.tolist(), frame_lengths.tolist(), strict=True)
        made = [torch.from_numpy(self._embed(clip[:samples], n)) for clip, samples, n in counted]
        result = pad_sequence(made, batch_first=True).to(audio.device)  # (batch, time, dim)
        if self.vector:
            return TeacherFrames(frame_lengths, vector=result[:, 0])
        return TeacherFrames(frame_lengths, hidden=dict.fromkeys(layers, result))

    def info(self) -> TeacherInfo:
        """Describe the teacher in figures."""
        return TeacherInfo(
            name=self.name,
            family="onnx",
            layers=self.layers,
            dim=self.dim,
            attention_heads=0,
            parameters=self.embedder.parameters,
            sample_rate=self.embedder.sample_rate,
            hop=round(self.hop),
            standardises_input=False,
            codebooks=0,
            codebook_size=0,
        )

    def _check(self, audio: Tensor, lengths: Tensor) -> None:
        fits = audio.ndim == 2 and len(audio) and lengths.shape == audio.shape[:1]
        if not fits or int(lengths.max()) > audio.shape[1]:
            raise AudioError(
                f"{self.name} takes audio as (batch, samples) with one length per clip, not "
                f"{tuple(audio.shape)} with lengths {lengths.tolist()}"
            )
        if int(lengths.min()) < 1 or int(self._count(lengths, self.embedder.hop or 1.0).min()) < 1:
            raise AudioError(
                f"{self.name} makes nothing of a clip of {int(lengths.min())} samples; leave it out"
            )

    def _count(self, lengths: Tensor, hop: float) -> Tensor:
        """Count the steps of `hop` that fit once the first `span` is there. lengths: samples at 16 kHz."""
        embedder = self.embedder
        samples = torch.ceil(lengths.double() * embedder.sample_rate / SAMPLE_RATE) + sum(embedder.pad)
        return (((samples - embedder.span) / hop).floor() + 1).clamp(min=0).long()

    def _embed(self, clip: Values, frames: int) -> Values:
        """Embed one clip at 16 kHz. (samples,) -> (frames, dim), or (1, dim) of a vector teacher."""
        embedder = self.embedder
        audio = np.pad(_resample(clip, embedder.sample_rate) * np.float32(embedder.scale), embedder.pad)
        made = np.concatenate(list(self._chunks(audio))) if embedder.chunk else self._run(audio)
        wanted = (frames or 1, embedder.dim)
        if embedder.chunk:
            made = made[:frames]
        if made.shape != wanted:
            raise CheckpointError(
                f"{self.name} gives {made.shape} where its description promises {wanted} (frames, dim) of "
                f"{len(audio)} samples: correct dim, hop, span or pad"
            )
        if not np.isfinite(made).all():
            raise CheckpointError(f"{self.name} gives values that are not finite; it is no use as a teacher")
        return made

    def _chunks(self, audio: Values) -> Iterator[Values]:
        chunk = self.embedder.chunk
        for start in range(0, len(audio), chunk):
            part = audio[start : start + chunk]
            made = self._run(np.pad(part, (0, chunk - len(part))))
            yield made[: int(chunk / self.embedder.hop)]

    def _run(self, audio: Values) -> Values:
        """Lead audio through the chain. (samples,) -> (time, dim)."""
        x = _features(self.embedder.features, audio)
        for graph, session in zip(self.embedder.graphs, self.sessions, strict=True):
            try:
                x = session.run([graph.output], {graph.input: _cut(x, graph.windows).reshape(graph.shape)})[0]
            except (*_REFUSALS, ValueError) as error:
                raise CheckpointError(
                    f"{self.name} cannot run {graph.file} on an input of shape {list(graph.shape)}: "
                    f"{_first_line(error)}"
                ) from error
            x = x.reshape(-1, x.shape[-1]) * np.float32(graph.multiply) + np.float32(graph.add)
        return x


def load_onnx(path: Path, name: str | None = None) -> OnnxTeacher:
    """Load the teacher that a TOML describes; its model files lie beside it."""
    embedder = read_config(Embedder, path)
    _refuse_impossible(embedder, path)
    return OnnxTeacher(name or path.stem, embedder, path.parent)


def _refuse_impossible(embedder: Embedder, path: Path) -> None:
    windows = [graph.windows for graph in embedder.graphs if graph.windows]
    sizes = [
        embedder.dim,
        embedder.sample_rate,
        *(n for w in windows for n in (w.size, w.hop)),
    ]
    if not embedder.graphs or min(sizes) < 1:
        raise ConfigError(f"{path} needs graphs, and each dim, sample_rate and window above 0")
    if embedder.vector == (embedder.hop > 0):
        raise ConfigError(f"{path} needs either a hop above 0 or vector = true")
    if min(*embedder.pad, embedder.span, embedder.chunk) < 0 or (
        embedder.chunk and (embedder.vector or embedder.chunk % embedder.hop)
    ):
        raise ConfigError(
            f"{path} needs a pad and span of 0 or more, and a chunk that is a whole number of hops"
        )
    if embedder.features != "audio" and embedder.sample_rate != SAMPLE_RATE:
        raise ConfigError(f"{path} wants {embedder.features}, which is made of {SAMPLE_RATE} Hz alone")


def _features(kind: str, audio: Values) -> Values:
    match kind:
        case "whisper_log_mel":
            return whisper_log_mel(audio)
        case "speechbrain_fbank":
            return speechbrain_fbank(audio)
    return audio


def _cut(frames: Values, windows: Windows | None) -> Values:
    """Cut into windows. (time, width) -> (windows, size, width)."""
    if windows is None:
        return frames
    cut = np.lib.stride_tricks.sliding_window_view(frames, windows.size, axis=0)[:: windows.hop]
    return np.ascontiguousarray(cut.transpose(0, 2, 1))


def _resample(clip: Values, rate: int) -> Values:
    """From 16 kHz to `rate`, of ceil(samples * rate / 16000) samples whatever the resampler rounds to."""
    if rate == SAMPLE_RATE:
        return clip
    samples = -(-len(clip) * rate // SAMPLE_RATE)
    resampled = soxr.resample(clip, SAMPLE_RATE, rate, quality="HQ")[:samples]
    return np.pad(resampled, (0, samples - len(resampled)))


def _open(folder: Path, graph: Graph) -> Any:  # noqa: ANN401 - onnxruntime publishes no types
    """Open a model that cannot reach beyond `folder`; no library of custom operators is ever registered."""
    file = _inside(folder, graph.file, f"{folder / EMBEDDER}")
    if file.suffix not in {".onnx", ".ort"}:
        raise CheckpointError(f"{file} is neither an .onnx nor an .ort file, which is all that is read here")
    if not file.is_file():
        raise CheckpointError(f"{folder} lacks the model file {graph.file}; fetch or copy it there")
    if file.suffix == ".onnx":
        _refuse_far_data(folder, file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised as well
    options.enable_mem_pattern = False  # clips differ in length
    options.intra_op_num_threads = usable_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch trains beside it
    options.add_session_config_entry("session.load_model_format", file.suffix.removeprefix(".").upper())
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as error:
        raise CheckpointError(
            f"{file} cannot be opened by onnxruntime {onnxruntime.__version__}: {_first_line(error)}"
        ) from error
    _check_names(file, "input", graph.input, session.get_inputs())
    _check_names(file, "output", graph.output, session.get_outputs())
    return session


def _check_names(file: Path, what: str, name: str, there: Sequence[Any]) -> None:
    names = [node.name for node in there]
    if name not in names:
        raise CheckpointError(f"{file} has no {what} {name}; it has {', '.join(names)}")


def _inside(folder: Path, name: str, where: str) -> Path:
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise CheckpointError(f"{where} refers to {name}, which lies outside its folder, and is refused")
    return file


def _refuse_far_data(folder: Path, file: Path) -> None:
    """Weights may lie in files beside the model, and nowhere else."""
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise CheckpointError(f"{file} is no ONNX model, or damaged; fetch it again") from error
    graphs = [model.graph, *(info.initialization for info in model.training_info)]
    nodes = [node for function in model.functions for node in function.node]
    for tensor in (*_tensors_of_nodes(nodes), *(t for graph in graphs for t in _tensors(graph))):
        for entry in tensor.external_data:
            if entry.key == "location":
                _inside(file.parent, entry.value, str(file))
                _inside(folder, str(file.parent / entry.value), str(file))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Constants of the nodes and of the graphs inside them (branches and loop bodies)."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors(graph)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
