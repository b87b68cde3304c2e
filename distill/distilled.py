"""A distilled student as it is kept: the network, what it can give, and where it comes from.

A folder of two files: `student.safetensors`, and `student.json` which describes it.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earkit.distill.config import build
from earkit.distill.losses.csr import CSR, CSRConfig
from earkit.distill.losses.matryoshka import truncate
from earkit.distill.student import Student, StudentConfig
from earkit.distill.teachers.resolve import STUDENT
from earkit.runtime.errors import CheckpointError, StorageError, reason

WEIGHTS, DESCRIPTION = "student.safetensors", STUDENT


@dataclass(frozen=True)
class Outputs:
    """What a distilled student gives beside its frames and its embedding."""

    dims: tuple[int, ...] = ()
    """Widths to which the embedding may be cut."""
    codebooks: int = 0
    """Token inventories, each of `codebook_size`; 0 is none."""
    codebook_size: int = 0
    sparse: CSRConfig | None = None
    classes: tuple[str, ...] = ()
    elastic: bool = False
    """Whether every prefix of the blocks gives an embedding."""


class DistilledStudent(nn.Module):
    """A student with its heads."""

    def __init__(self, config: StudentConfig, outputs: Outputs) -> None:
        super().__init__()
        self.config, self.outputs = config, outputs
        self.student = Student(config)
        self.token_head = (
            nn.Linear(config.dim, outputs.codebooks * outputs.codebook_size) if outputs.codebooks else None
        )
        self.sparse = CSR(outputs.sparse, config.embedding_dim) if outputs.sparse else None
        self.classifier = nn.Linear(config.embedding_dim, len(outputs.classes)) if outputs.classes else None

    def frames(self, audio: Tensor, lengths: Tensor, depth: int | None = None) -> tuple[Tensor, Tensor]:
        """(batch, samples), (batch,) -> (batch, time, dim) and which count (batch, time)."""
        trace = self.student(audio, lengths, depth=depth)
        return trace.hidden[-1], trace.valid

    def embed(
        self, audio: Tensor, lengths: Tensor, dim: int | None = None, depth: int | None = None
    ) -> Tensor:
        """Embed clips, cut to a trained width and of length one. -> (batch, dim)."""
        frames, valid = self.frames(audio, lengths, depth)
        full = self.config.embedding_dim
        return truncate(self.student.pool(frames, valid), dim or full, self.outputs.dims or (full,))

    def tokens(self, frames: Tensor) -> Tensor:
        """Most probable codeword of each codebook. (batch, time, dim) -> (codebooks, batch, time)."""
        assert self.token_head is not None
        logits = self.token_head(frames).unflatten(-1, (self.outputs.codebooks, -1))
        best: Tensor = logits.argmax(-1)
        return best.permute(2, 0, 1)


@dataclass(frozen=True)
class Provenance:
    """Where a student comes from; `figures` are what was measured of it."""

    name: str = "student"
    teachers: tuple[str, ...] = ()
    data: str = ""
    licences: tuple[str, ...] = ()
    audio_seconds: float = 0.0
    steps: int = 0
    evaluation_clips: int = 0
    """Clips that it has learned from though they are for evaluation only."""
    figures: dict[str, float] = field(default_factory=dict)


def save_student(model: DistilledStudent, folder: Path, provenance: Provenance) -> None:
    """Write the folder, whole or not at all."""
    if folder.exists() and not (folder / DESCRIPTION).is_file():
        raise StorageError(f"{folder} exists and is not a student of ours: choose another name")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    described = {
        "schema": 1,
        "student": dataclasses.asdict(model.config),
        "outputs": dataclasses.asdict(model.outputs),
        "provenance": dataclasses.asdict(provenance),
    }
    try:
        part.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, part / WEIGHTS)
        (part / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(f"could not write the student to {folder}: {error}") from error


def newest_student(runs: Path = Path("runs")) -> Path:
    """Find the run whose student was written last."""
    students = sorted(runs.glob(f"*/student/{DESCRIPTION}"), key=lambda file: file.stat().st_mtime)
    if not students:
        raise CheckpointError(f"there is no student in any run in {runs}: make one with `kit distill`")
    return students[-1].parent.parent


def run_meant(place: Path | None, say: Callable[[str], None]) -> Path:
    """Take a place, or without one the newest run with a student, which is said."""
    if place is None:
        place = newest_student()
        say(f"taking the newest run with a student, {place}")
    return place


def run_of(folder: Path) -> Path:
    """Give the run that a student folder is of; one that lies elsewhere stands for itself."""
    return folder.parent if folder.name == "student" else folder


def find_student(place: Path) -> Path:
    """Find the student folder of a run, or take the folder itself."""
    for folder in (place, place / "student", Path("runs") / place / "student"):
        if (folder / DESCRIPTION).is_file():
            return folder
    if (place / "checkpoints").is_dir():
        raise CheckpointError(
            f"{place} is a run without a student yet: finish it with `kit distill --out {place}`"
        )
    raise CheckpointError(f"there is no student in {place}: make one with `kit distill`")


def load_student(place: Path) -> tuple[DistilledStudent, Provenance]:
    """Undo `save_student`, in evaluation mode; takes a run folder too."""
    folder = find_student(place)
    try:
        described: Mapping[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        state = load_file(folder / WEIGHTS)
        config = build(StudentConfig, described["student"], str(folder / DESCRIPTION))
        outputs = {k: v for k, v in described["outputs"].items() if v is not None}
        model = DistilledStudent(config, build(Outputs, outputs, str(folder / DESCRIPTION)))
        kept = described["provenance"].items()
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept}
        provenance = Provenance(**values)
        model.load_state_dict(state)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} is not a whole student folder ({reason(error)}): distil it again"
        ) from error
    return model.eval(), provenance
