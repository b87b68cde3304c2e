"""The task teacher: a classifier on what one or several teachers hear, whose soft labels a student learns.

It is a logistic regression on mean and deviation over time of every layer, fitted on some views of each clip:
a few clips are too few to learn more, and this needs no steps. TinyBERT's task teacher is a fine-tuned BERT;
so the teachers' transformers may learn too, after the head, which then no longer pulls them about (Kumar et
al. 2022).
"""

import inspect
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill import logistic_regression
from earkit.distill.calibration import deviation
from earkit.distill.teachers.huggingface import Teacher, TeacherFrames
from earkit.distill.teaching import TeacherAtWork
from earkit.runtime.errors import ConfigError, StorageError

STRENGTH = 20.0
"""Of the logistic regression: scikit-learn's C, if each vector had length 1."""
LEAST_VARIANCE = 1e-12
"""Of a channel over time: a root has a gradient above 0 alone."""


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


class TaskTeacher(nn.Module):
    """Teachers, frozen unless `finetune` is called, and a linear classifier on what they hear."""

    def __init__(self, teachers: Sequence[TeacherAtWork], classes: int) -> None:
        super().__init__()
        self.teachers = tuple(teachers)
        width = sum(each.teacher.dim * (2 * each.teacher.layers or 1) for each in teachers)
        self.classifier = nn.Linear(width, classes)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.transformers = nn.ModuleList()

    mean: Tensor
    deviation: Tensor

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

    def hear(self, audio: Tensor, lengths: Tensor) -> list[Tensor]:
        """Run every teacher, in full precision. -> what is heard of each clip, each (batch, dim)."""
        heard = []
        with torch.autocast(audio.device.type, enabled=False):
            for each in self.teachers:
                features = inspect.unwrap(type(each.teacher).features)  # past its `no_grad`
                layers = list(range(1, each.teacher.layers + 1))
                heard += moments(features(each.teacher, audio, lengths, layers=layers))
        return heard

    def logits(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """(batch, samples), (batch,) -> (batch, classes)."""
        return self._logits(torch.cat(self.hear(audio, lengths), dim=1))

    def _logits(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.classifier((vectors - self.mean) / self.deviation)
        return logits

    @torch.no_grad()
    def fit(self, views: Iterable[TaskLesson], clips: int) -> None:
        """Fit the classifier. clips: how many these are views of."""
        batches = [(batch.labels, *self.hear(batch.audio, batch.lengths)) for batch in views]
        labels, *heard = [torch.cat(each) for each in zip(*batches, strict=True)]
        vectors = torch.cat(heard, dim=1)
        self.mean.copy_(vectors.mean(0))
        self.deviation.copy_(torch.cat([deviation(each) for each in heard]))
        penalty = vectors.shape[1] / (STRENGTH * clips)
        logistic_regression.fit(
            self.classifier, lambda: F.cross_entropy(self._logits(vectors), labels), penalty
        )

    def forward(self, lesson: TaskLesson) -> Graded:
        """Learn from the labels."""
        logits = self.logits(lesson.audio, lesson.lengths).float()
        loss = F.cross_entropy(logits, lesson.labels, reduction="sum")
        return Graded(loss, (logits.argmax(1) == lesson.labels).sum(), len(logits))


def moments(frames: TeacherFrames) -> list[Tensor]:
    """Take mean and deviation over each clip's frames, layer by layer; or its vector. Each (batch, dim)."""
    if frames.vector is not None:
        return [frames.vector.float()]
    found = []
    for hidden in frames.hidden.values():
        time = torch.arange(hidden.shape[1], device=hidden.device)
        counted = (time < frames.lengths.to(hidden.device)[:, None])[:, :, None].float()
        count = counted.sum(1).clamp(min=1)
        mean = (hidden * counted).sum(1) / count
        variance = ((hidden - mean[:, None]).square() * counted).sum(1) / count
        found.append(torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=1))
    return found


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
