"""A distilled student as a teacher: of a smaller one, or of itself after pruning."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from earkit.distill.distilled import DistilledStudent, load_student
from earkit.distill.front_end import CENTRE, FRAME, student_frames
from earkit.distill.teachers.huggingface import TeacherFrames, TeacherInfo
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import ConfigError


class StudentTeacher:
    """A frozen student with the interface of `huggingface.Teacher`; its blocks are the layers.

    Its codes are those of its token head; it shows no attention, of which few students have any.
    """

    sample_rate = SAMPLE_RATE
    attention_heads = 0
    gives_input = True
    hop = FRAME
    first_centre = CENTRE

    def __init__(self, name: str, model: DistilledStudent) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.dim, self.layers = model.config.dim, model.config.depth
        self.dinosr = model.outputs if model.outputs.codebooks else None

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        self.model.to(device)
        return self

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames made of so many samples. (batch,) -> (batch,)."""
        return student_frames(lengths)

    @torch.no_grad()
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
        """Run the student. audio: (batch, samples) at 16 kHz, padded on the right; lengths: (batch,)."""
        layers = range(self.layers + 1) if layers is None else layers
        if ffn or attention or not set(layers) <= set(range(self.layers + 1)) or (codes and not self.dinosr):
            raise ConfigError(
                f"{self.name} is a student: as a teacher it gives layers 0 to {self.layers}"
                f"{' and codes' if self.dinosr else ''}, and nothing else"
            )
        trace = self.model.student(audio, lengths.to(audio.device))
        return TeacherFrames(
            lengths=student_frames(lengths.to(audio.device)),
            hidden={k: trace.hidden[k] for k in layers},
            codes=self._codes(trace.hidden[-1], trace.valid) if codes else None,
        )

    def _codes(self, frames: Tensor, valid: Tensor) -> Tensor:
        """(batch, time, dim) -> (codebooks, batch, time, size)."""
        assert self.model.token_head is not None
        logits = self.model.token_head(frames).unflatten(-1, (self.model.outputs.codebooks, -1))
        codes: Tensor = logits.float().log_softmax(-1).permute(2, 0, 1, 3)
        return codes.masked_fill(~valid.unsqueeze(-1), 0)

    def info(self) -> TeacherInfo:
        """Describe the teacher in figures."""
        outputs = self.model.outputs
        return TeacherInfo(
            name=self.name,
            family="student",
            layers=self.layers,
            dim=self.dim,
            attention_heads=0,
            parameters=sum(p.numel() for p in self.model.student.parameters()),
            sample_rate=SAMPLE_RATE,
            hop=FRAME,
            standardises_input=False,
            codebooks=outputs.codebooks,
            codebook_size=outputs.codebook_size,
        )


def load_as_teacher(folder: Path, name: str | None = None) -> StudentTeacher:
    """Load a student folder."""
    return StudentTeacher(name or folder.name, load_student(folder)[0])
