"""Imitate the teacher's distribution over its codebooks: DinoSR's own prediction layer (Liu et al. 2023)."""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets, mean_over
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class CodesConfig:
    """`weight` of the loss among the others, 0 is off; above 1, `temperature` softens both distributions."""

    weight: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ConfigError(f"codes.weight must be 0 or more, not {self.weight}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"codes.temperature must be above 0, not {self.temperature}")


class Codes(nn.Module):
    """One linear head for each codebook on the student's last hidden state; its tokens come from them too.

    L = T^2 * KL(teacher || student) for each frame, both softened by temperature T, mean over codebooks and
    valid frames. T^2 undoes what the temperature does to the size of the gradient (Hinton et al. 2015,
    section 2), so that the balance with other losses stays.
    """

    def __init__(self, config: CodesConfig, shape: PairShape) -> None:
        super().__init__()
        if not shape.codebooks:
            raise ConfigError(
                "the codes loss needs a teacher with codebooks: set codes.weight to 0 for this one"
            )
        self.temperature = config.temperature
        self.codebooks = shape.codebooks
        self.heads = nn.Linear(shape.student_dim, shape.codebooks * shape.codebook_size)

    def needs(self) -> Needs:
        """Nothing but the codes."""
        return Needs(codes=True)

    def logits(self, frames: Tensor) -> Tensor:
        """Scores of all codewords. (batch, time, dim) -> (codebooks, batch, time, size)."""
        scores: Tensor = self.heads(frames)
        return scores.reshape(*frames.shape[:2], self.codebooks, -1).permute(2, 0, 1, 3)

    def forward(self, student: StudentTrace, teacher: Targets) -> Tensor:
        """Return the loss, without its weight among the others."""
        assert teacher.codes is not None
        valid = student.valid & teacher.valid
        target = (teacher.codes.float() / self.temperature).softmax(-1)
        prediction = (self.logits(student.hidden[-1]).float() / self.temperature).log_softmax(-1)
        divergence = F.kl_div(prediction, target, reduction="none").sum(-1)  # (codebooks, batch, time)
        return self.temperature**2 * mean_over(divergence.mean(0), valid)
