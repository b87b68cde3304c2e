"""What is compared for its cost: its size, its graphs, and how a process of its own opens it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earkit.benchmarks import multiply_adds
from earkit.benchmarks.hearing import Kind
from earkit.benchmarks.node_profile import GraphRun
from earkit.benchmarks.representations import FLOORS, Array
from earkit.distill.distilled import WEIGHTS
from earkit.distill.teachers import huggingface
from earkit.distill.teachers.onnx_embedder import OnnxTeacher
from earkit.distill.teachers.resolve import load_teacher_by_name
from earkit.distill.teachers.student_teacher import StudentTeacher
from earkit.distill.teaching import AnyTeacher
from earkit.runtime.find_model import KINDS, built_in, find_model
from earkit.runtime.model_file import read_model_file


@dataclass(frozen=True)
class Contestant:
    """One of those that are compared.

    about: of what kind it is, in words. opened: as what `hearing` opens it, and where it is. graph_runs:
    samples -> runs of its ONNX files, where it has any. multiply_adds: samples -> how many; None where they
    cannot be counted.
    """

    name: str
    about: str
    opened: tuple[Kind, str]
    parameters: int
    megabytes: float
    multiply_adds: Callable[[Array], int] | None = None
    graph_runs: Callable[[Array], list[GraphRun]] | None = None


def contestant(name: str) -> Contestant:
    """Find what a name means, as `representations.load` does."""
    if name in FLOORS:
        return Contestant(name, "floor, NumPy", ("floor", name), 0, 0.0)
    if Path(name).suffix in KINDS or name in built_in():
        return of_model_file(find_model(name), name)
    teacher, folder = load_teacher_by_name(name)
    return (
        of_onnx(teacher, folder, name)
        if isinstance(teacher, OnnxTeacher)
        else of_torch(teacher, folder, name)
    )


def of_model_file(file: Path, name: str) -> Contestant:
    """Adapt an exported model file."""
    info = read_model_file(file)

    def runs(samples: Array) -> list[GraphRun]:
        return [clip_run(file, samples[None])]

    return Contestant(
        name,
        f"model file, {info.precision}",
        ("file", str(file.resolve())),
        info.parameters,
        file.stat().st_size / 1e6,
        lambda samples: sum(map(multiply_adds.of_graph, runs(samples))),
        runs,
    )


def clip_run(file: Path, audio: Array) -> GraphRun:
    """Ask a model file for embeddings. audio: (batch, samples)."""
    lengths = np.full(len(audio), audio.shape[1])
    return GraphRun(file, {"audio": audio, "lengths": lengths}, ("embedding",))


def of_onnx(teacher: OnnxTeacher, folder: Path, name: str) -> Contestant:
    """Adapt an ONNX peer."""
    files = [folder / graph.file for graph in teacher.embedder.graphs]

    def runs(samples: Array) -> list[GraphRun]:
        return recorded(teacher, files, samples)

    return Contestant(
        name,
        "ONNX peer",
        ("representation", name),
        teacher.embedder.parameters,
        sum(file.stat().st_size for file in files) / 1e6,
        lambda samples: sum(map(multiply_adds.of_graph, runs(samples))),
        runs,
    )


class _Recorder:
    """A session that keeps what it is fed."""

    def __init__(self, session: Any, file: Path, runs: list[GraphRun]) -> None:  # noqa: ANN401 - onnxruntime has no types
        self._session, self._file, self._runs = session, file, runs

    def run(self, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - the same
        self._runs.append(GraphRun(self._file, feeds, tuple(outputs)))
        return self._session.run(outputs, feeds)


def recorded(teacher: OnnxTeacher, files: list[Path], samples: Array) -> list[GraphRun]:
    """Listen to what a peer's graphs are fed for a clip."""
    runs: list[GraphRun] = []
    sessions = teacher.sessions
    teacher.sessions = [_Recorder(each, file, runs) for each, file in zip(sessions, files, strict=True)]
    try:
        teacher.features(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    finally:
        teacher.sessions = sessions
    return runs


def of_torch(teacher: AnyTeacher, folder: Path, name: str) -> Contestant:
    """Adapt what runs in torch: a teacher, or a student before its export."""
    if isinstance(teacher, StudentTeacher):
        files, model = [folder / WEIGHTS], teacher.model
        about, count = "student in torch", sum(p.numel() for p in model.parameters())

        def hear(audio: torch.Tensor, lengths: torch.Tensor) -> object:
            return model.embed(audio, lengths)
    else:
        files = [folder / weights for weights in huggingface.WEIGHTS if (folder / weights).is_file()][:1]
        about, count, hear = "teacher in torch", teacher.info().parameters, teacher.features
    return Contestant(
        name,
        about,
        ("representation", name),
        count,
        sum(file.stat().st_size for file in files) / 1e6,
        lambda samples: multiply_adds.of_torch(
            lambda: hear(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        ),
    )
