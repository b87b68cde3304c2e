"""Stella: place, similarities and their order, from teacher to student (Zhang et al. 2024, section 3).

Three losses on a batch of vectors, s of the student and t of the teacher, all of length one:

- cosine: 1 - s_i . t_i, the student projected to the teacher's width;
- similarity: mean squared error between the matrices of all s_i . s_j and all t_i . t_j;
- relative similarity: max(0, s_a . s_n - s_a . s_p + margin) wherever t_a . t_p > t_a . t_n.

The last two need no projection: they shape the very vectors that will be searched. The paper compares any
two pairs of a batch; here the two share an anchor a, as they do when one query ranks its answers.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from earkit.distill.trace import mean_over
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class StellaConfig:
    """Weights as in the paper; of more than `most_triples` triples in a batch, so many are drawn."""

    weight: float = 0.0
    cosine: float = 10.0
    similarity: float = 200.0
    relative: float = 20.0
    margin: float = 0.015
    most_triples: int = 16_384

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"stella.{name} must be 0 or more, not {getattr(self, name)}")
        if not self.most_triples:
            raise ConfigError(
                "stella.most_triples must be at least 1; set stella.relative to 0 to do without triples"
            )


def similarities(vectors: Tensor) -> Tensor:
    """Cosine of every pair, in float32 whatever the precision of training. (n, dim) -> (n, n)."""
    with torch.autocast(vectors.device.type, enabled=False):
        unit = F.normalize(vectors.float(), dim=1)
        return unit @ unit.T


def draw_triples(n: int, most: int, generator: Generator | None = None) -> Tensor:
    """Anchor and two others: every triple of n rows, or `most` random ones if there are more. -> (m, 3)."""
    if n * (n - 1) * (n - 2) // 2 <= most:
        rows = torch.combinations(torch.arange(n), 3)
        return torch.cat([rows, rows.roll(1, 1), rows.roll(2, 1)])  # each of three rows is an anchor once
    anchor = torch.randint(n, (most,), generator=generator)
    first = torch.randint(1, n, (most,), generator=generator)
    second = torch.randint(1, n - 1, (most,), generator=generator)
    second = second + (second >= first)  # two different steps away from the anchor
    return torch.stack([anchor, (anchor + first) % n, (anchor + second) % n], dim=1)


def relative_similarity(student: Tensor, teacher: Tensor, triples: Tensor, margin: float) -> Tensor:
    """Hinge on the order that the teacher gives to each triple's two others; a tie gives none.

    student, teacher: similarities (n, n). triples: (m, 3).
    """
    anchor, one, other = triples.T
    order = (teacher[anchor, one] - teacher[anchor, other]).sign()  # +1 where `one` is the positive
    lead = order * (student[anchor, one] - student[anchor, other])
    return mean_over(F.relu(margin - lead), order != 0)


class Stella(nn.Module):
    """Weighted sum of the three losses, with the projection that the cosine needs."""

    def __init__(self, config: StellaConfig, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.config = config
        self.projection = nn.Linear(student_dim, teacher_dim)

    @torch.no_grad()
    def turn(self, axes: Tensor) -> None:
        """Follow whole embeddings that were turned to other axes, (dim, dim) orthonormal rows."""
        self.projection.weight.copy_(self.projection.weight @ axes.T)

    def forward(self, student: Tensor, teacher: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the loss of (n, student dim) against (n, teacher dim), n at least 1.

        A Matryoshka prefix of the student goes through the first columns of the same projection, the weight
        tying of MRL-E. generator: on the CPU, draws the triples; None is torch's own.
        """
        config = self.config
        projected = F.linear(student, self.projection.weight[:, : student.shape[1]], self.projection.bias)
        cosine = 1 - F.cosine_similarity(projected.float(), teacher.float()).mean()
        ours, theirs = similarities(student), similarities(teacher)
        triples = draw_triples(len(student), config.most_triples, generator).to(student.device)
        relative = relative_similarity(ours, theirs, triples, config.margin)
        return (
            config.cosine * cosine + config.similarity * F.mse_loss(ours, theirs) + config.relative * relative
        )
