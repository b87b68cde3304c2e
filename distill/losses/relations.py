"""MiniLMv2: imitate how the teacher's frames relate to each other (Wang et al. 2021), and their Gram matrix.

Relations are time by time, so widths and head counts of student and teacher may differ.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets, mean_over
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class RelationsConfig:
    """`weight` of the loss among the others, 0 is off; `query` to `gram` weigh its parts."""

    weight: float = 0.0
    heads: int = 8
    """Relation heads; fewer where the width of the student or the teacher does not divide by them."""
    query: float = 1.0
    key: float = 1.0
    value: float = 1.0
    gram: float = 1.0
    teacher_layer: int = 0
    """Attention to imitate; 0 is the last one of the layer map. The paper: the upper middle of large ones."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"relations.{name} must be 0 or more, not {value}")
        if not self.heads:
            raise ConfigError("relations.heads must be at least 1")


def split(projection: Tensor, heads: int) -> Tensor:
    """Concatenate attention heads and split again (section 3.1): (batch, any heads, time, d) -> heads."""
    batch, _, time, _ = projection.shape
    return projection.transpose(1, 2).reshape(batch, time, heads, -1).transpose(1, 2)


def relation_logits(x: Tensor, valid: Tensor) -> Tensor:
    """X X^T / sqrt(d_r) of eq. 4, with no weight on padded keys. x: (batch, heads, time, d_r)."""
    logits = (x / math.sqrt(x.shape[-1])) @ x.transpose(-1, -2)
    return logits.float().masked_fill(~valid[:, None, None, :], torch.finfo(torch.float32).min)


def relation_divergence(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Eq. 3: KL(teacher || student) of each frame's relations to all, mean over heads and valid frames.

    student, teacher: (batch, heads, time, d_r), with a d_r of their own. valid: (batch, time).
    """
    target = relation_logits(teacher, valid).softmax(-1)
    prediction = relation_logits(student, valid).log_softmax(-1)
    divergence = F.kl_div(prediction, target, reduction="none").sum(-1)  # (batch, heads, time)
    return mean_over(divergence.mean(1), valid)


def cosines(frames: Tensor) -> Tensor:
    """Temporal Gram matrix: cosine of each frame of a clip with each. (batch, time, dim)."""
    unit = F.normalize(frames.float(), dim=-1)
    return unit @ unit.transpose(1, 2)


def gram_error(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference of the temporal Gram matrices, over pairs of valid frames."""
    pairs = valid[:, :, None] & valid[:, None, :]
    return mean_over((cosines(student) - cosines(teacher)).square(), pairs)


class Relations(nn.Module):
    """Query, key and value relations of one block and layer (eq. 5), and the Gram matrices of all pairs.

    L = query * L_q + key * L_k + value * L_v + gram * mean over the layer map of the Gram error. A teacher
    without attention has the last part alone; for a block without attention, training adds projections.
    """

    def __init__(self, config: RelationsConfig, shape: PairShape) -> None:
        super().__init__()
        self.config = config
        self.layer_map = shape.layer_map
        self.parts = (config.query, config.key, config.value) if shape.teacher_heads else (0.0, 0.0, 0.0)
        if not shape.layer_map or not (config.gram or any(self.parts)):
            raise ConfigError(
                "relations has nothing to compare: it needs a teacher with frame features, and "
                "relations.gram or (if the teacher has attention) relations.query, key or value above 0"
            )
        if config.teacher_layer > shape.teacher_layers:
            raise ConfigError(
                f"relations.teacher_layer must be at most {shape.teacher_layers}, which this teacher has, "
                f"not {config.teacher_layer}"
            )
        self.block, layer = shape.layer_map[-1]
        self.layer = config.teacher_layer or layer
        if any(self.parts):
            self.project = nn.Linear(shape.student_dim, 3 * shape.student_dim)

    def needs(self) -> Needs:
        """Attention of one layer, hidden states of the mapped ones."""
        hidden = frozenset(layer for _, layer in self.layer_map) if self.config.gram else frozenset()
        return Needs(hidden, frozenset({self.layer}) if any(self.parts) else frozenset())

    def forward(self, student: StudentTrace, teacher: Targets) -> Tensor:
        """Return the loss, without its weight among the others."""
        valid = student.valid & teacher.valid
        loss = student.hidden[0].new_zeros(())
        if any(self.parts):
            own, other = self._student_projections(student), teacher.attention[self.layer]
            for part, x, y in zip(self.parts, own, other, strict=True):
                if part:
                    heads = self._heads(x, y)
                    divergence = relation_divergence(split(x, heads), split(y, heads), valid)
                    loss = loss + part * divergence
        if self.config.gram:
            share = self.config.gram / len(self.layer_map)
            for block, layer in self.layer_map:
                loss = loss + share * gram_error(student.hidden[block], teacher.hidden[layer], valid)
        return loss

    def _heads(self, student: Tensor, teacher: Tensor) -> int:
        """Count the relation heads: at most as many as asked for, and dividing both over all their heads."""
        common = math.gcd(*(x.shape[1] * x.shape[3] for x in (student, teacher)))
        return max(n for n in range(1, self.config.heads + 1) if common % n == 0)

    def _student_projections(self, student: StudentTrace) -> tuple[Tensor, ...]:
        """Query, key, value, each (batch, heads, time, d)."""
        own = student.attention.get(self.block)
        if own is not None:
            return own
        return tuple(x.unsqueeze(1) for x in self.project(student.hidden[self.block]).chunk(3, dim=-1))
