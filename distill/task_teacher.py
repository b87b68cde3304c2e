"""The task teacher: a classifier on what one or several teachers hear, whose soft labels a student learns.

As in the SUPERB benchmark (Yang et al. 2021) a learned mixture of a teacher's layers stands for it, here
pooled by attentive statistics (Okabe et al. 2018). TinyBERT's task teacher is a fine-tuned BERT; so the
teachers' transformers may learn too, after the head, which then no longer pulls them about (Kumar et al.
2022).
"""

import inspect
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.calibration import Standardiser
from earkit.distill.pooling import pool
from earkit.distill.student import Pooling
from earkit.distill.teachers.huggingface import Teacher
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.trace import Targets
from earkit.runtime.errors import ConfigError, StorageError

WIDTH = 256
"""Of what is pooled from one teacher's frames."""

HEADS = 4
"""Places in a clip that are pooled by themselves."""


@dataclass(frozen=True)
class TaskLesson:
    """One batch of labelled views. audio: (batch, samples); lengths, labels: (batch,).

    soft: logits of the task teacher for the same views, (batch, classes), and how much they still weigh.
    """

    audio: Tensor
    lengths: Tensor
    labels: Tensor
    soft: Tensor | None = None
    soft_weight: float = 1.0


@dataclass(frozen=True)
class Graded:
    """What a lesson cost, summed over its clips, and how many clips were put into the right class."""

    loss_sum: Tensor
    right: Tensor
    clips: int


class Hearing(nn.Module):
    """One vector of what one teacher hears in a clip."""

    def __init__(self, teacher: TeacherAtWork) -> None:
        super().__init__()
        self.layers = range(1, teacher.teacher.layers + 1)
        dim = teacher.teacher.dim
        self.standardiser = Standardiser(self.layers, dim, vector=not self.layers)
        self.mixture = nn.Parameter(torch.zeros(len(self.layers))) if self.layers else None
        self.pooling = Pooling(dim, HEADS, WIDTH) if self.layers else None
        self.width = WIDTH if self.layers else dim

    def forward(self, targets: Targets) -> Tensor:
        """Mix the layers and pool the frames; a teacher of vectors has done that. -> (batch, width)."""
        heard = self.standardiser(targets)
        if self.mixture is None or self.pooling is None:
            vector: Tensor | None = heard.vector
            assert vector is not None
            return vector
        weights = self.mixture.softmax(0)
        frames = sum(
            (weight * heard.hidden[k] for weight, k in zip(weights, self.layers, strict=True)),
            start=weights.new_zeros(()),
        )
        pooled: Tensor = self.pooling(frames, heard.valid[:, :, None].to(frames.dtype))
        return pooled


class TaskTeacher(nn.Module):
    """Teachers, frozen unless `finetune` is called, and a linear classifier on what they hear."""

    def __init__(self, teachers: Sequence[TeacherAtWork], classes: int, dropout: float) -> None:
        super().__init__()
        self.teachers = tuple(teachers)
        self.hearings = nn.ModuleList(Hearing(teacher) for teacher in teachers)
        width = sum(hearing.width for hearing in self._hearings())
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, classes)
        self.transformers = nn.ModuleList()

    def _hearings(self) -> list[Hearing]:
        return [hearing for hearing in self.hearings if isinstance(hearing, Hearing)]

    def finetune(self) -> None:
        """Let the teachers' transformers learn too, and keep them with the head from now on."""
        for each in self.teachers:
            if not isinstance(each.teacher, Teacher):
                raise ConfigError(
                    f"teacher {each.name} is an ONNX model, which cannot learn: set finetune_steps=0"
                )
            self.transformers.append(each.teacher.model.encoder.requires_grad_(requires_grad=True))

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Leave out the teachers' own dropout and dropped layers: a few clips teach them little by little."""
        super().train(mode)
        self.transformers.eval()
        return self

    def hear(self, audio: Tensor, lengths: Tensor) -> list[Targets]:
        """Run every teacher, in full precision, on the student's frames."""
        heard = []
        with torch.autocast(audio.device.type, enabled=False):
            for each, hearing in zip(self.teachers, self._hearings(), strict=True):
                features = inspect.unwrap(type(each.teacher).features)  # past its `no_grad`
                frames = features(each.teacher, audio, lengths, layers=list(hearing.layers))
                heard.append(pool(frames, lengths, each.teacher.hop, each.teacher.first_centre))
        return heard

    @torch.no_grad()
    def calibrate(self, clips: Sequence[TaskLesson]) -> None:
        """Measure by what the teachers' features are standardised."""
        heard = [self.hear(batch.audio, batch.lengths) for batch in clips]
        for hearing, targets in zip(self._hearings(), zip(*heard, strict=True), strict=True):
            hearing.standardiser.fit(targets)

    def logits(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """(batch, samples), (batch,) -> (batch, classes)."""
        heard = zip(self._hearings(), self.hear(audio, lengths), strict=True)
        vectors = torch.cat([hearing(targets) for hearing, targets in heard], dim=1)
        logits: Tensor = self.classifier(self.dropout(vectors))
        return logits

    def forward(self, lesson: TaskLesson) -> Graded:
        """Learn from the labels."""
        logits = self.logits(lesson.audio, lesson.lengths).float()
        loss = F.cross_entropy(logits, lesson.labels, reduction="sum")
        return Graded(loss, (logits.argmax(1) == lesson.labels).sum(), len(logits))


def save_finetuned(teacher: TeacherAtWork, folder: Path) -> None:
    """Write a teacher's folder as it was, with the weights as they are now; one that is there stays."""
    if folder.exists():
        return
    assert isinstance(teacher.teacher, Teacher)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(teacher.folder, part)
        teacher.teacher.model.save_pretrained(part)
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(f"could not write the fine-tuned teacher to {folder}: {error}") from error
