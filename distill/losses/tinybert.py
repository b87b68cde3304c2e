"""TinyBERT: imitate the teacher's attention scores, hidden states and embeddings (Jiao et al. 2020)."""

import dataclasses
import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.trace import Needs, PairShape, QueryKeyValue, StudentTrace, Targets, mean_over
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class TinyBERTConfig:
    """`weight` of the loss among the others, 0 is off; the rest weighs its three parts.

    without_codes: how many times that weight it has where no teacher has codebooks, so that features are all
    that a student can learn frame by frame.
    """

    weight: float = 0.0
    without_codes: float = 1.0
    attention: float = 1.0
    hidden: float = 1.0
    embedding: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"tinybert.{name} must be 0 or more, not {value}")


def scores(query: Tensor, key: Tensor) -> Tensor:
    """Raw attention scores, before the softmax: (batch, heads, time, d) twice -> (..., time, time)."""
    return (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)


def frame_error(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of the frames that count. (batch, time, dim) twice; valid: (batch, time)."""
    return mean_over((student - teacher.float()).square().mean(-1), valid)


class TinyBERT(nn.Module):
    """Layer-to-layer losses of section 3; `soft_cross_entropy` is that of its prediction phase.

    L = embedding * L_embd + sum over the pairs of the layer map (hidden * L_hidn + attention * L_attn),
    which is eq. 6 and 11 with the weight of each layer 1.
    """

    def __init__(self, config: TinyBERTConfig, shape: PairShape) -> None:
        super().__init__()
        self.config = config
        self.layer_map = shape.layer_map
        self.teacher_heads = shape.teacher_heads
        self.teacher_input = shape.teacher_input
        if not shape.layer_map or not (self._has_embedding or config.hidden or self._has_attention):
            raise ConfigError(
                "tinybert has nothing to compare: it needs a teacher with frame features, and above 0 "
                "tinybert.hidden, or embedding or attention if the teacher has them"
            )
        self.hidden = nn.Linear(shape.student_dim, shape.teacher_dim, bias=False)  # W_h
        self.embedding = nn.Linear(shape.student_dim, shape.teacher_dim, bias=False)  # W_e
        if self._has_attention:
            width = shape.teacher_dim // shape.teacher_heads * shape.teacher_heads
            pairs = range(len(shape.layer_map))
            self.queries = nn.ModuleList(nn.Linear(shape.student_dim, width) for _ in pairs)
            self.keys = nn.ModuleList(nn.Linear(shape.student_dim, width) for _ in pairs)

    @property
    def _has_attention(self) -> bool:
        return bool(self.config.attention and self.teacher_heads)

    @property
    def _has_embedding(self) -> bool:
        return bool(self.config.embedding and self.teacher_input)

    def needs(self) -> Needs:
        """Embeddings, and the hidden states and attention of the mapped layers."""
        layers = frozenset(layer for _, layer in self.layer_map)
        hidden = layers if self.config.hidden else frozenset()
        embedding = frozenset({0}) if self._has_embedding else frozenset()
        return Needs(hidden | embedding, layers if self._has_attention else frozenset())

    def forward(self, student: StudentTrace, teacher: Targets) -> Tensor:
        """Return the loss, without its weight among the others."""
        valid = student.valid & teacher.valid
        loss = student.hidden[0].new_zeros(())
        if self._has_embedding:  # eq. 9
            embedding = self.embedding(student.hidden[0])
            loss = loss + self.config.embedding * frame_error(embedding, teacher.hidden[0], valid)
        for pair, (block, layer) in enumerate(self.layer_map):
            if self.config.hidden:  # eq. 8
                hidden = self.hidden(student.hidden[block])
                loss = loss + self.config.hidden * frame_error(hidden, teacher.hidden[layer], valid)
            if self._has_attention:
                attended = self._attention_error(pair, student, teacher.attention[layer], valid)
                loss = loss + self.config.attention * attended
        return loss

    def _attention_error(
        self, pair: int, student: StudentTrace, teacher: QueryKeyValue, valid: Tensor
    ) -> Tensor:
        """Eq. 7: mean squared error of the raw scores, over heads and over pairs of valid frames."""
        query, key = self._query_and_key(pair, student)
        error = scores(query, key) - scores(teacher.query.float(), teacher.key.float())
        return mean_over(error.square().mean(1), valid[:, :, None] & valid[:, None, :])

    def _query_and_key(self, pair: int, student: StudentTrace) -> tuple[Tensor, Tensor]:
        """Take the block's own, or what training adds where it has no attention or other heads."""
        block = self.layer_map[pair][0]
        own = student.attention.get(block)
        if own is not None and own.query.shape[1] == self.teacher_heads:
            return own.query, own.key
        query = self.queries[pair](student.hidden[block]).unflatten(-1, (self.teacher_heads, -1))
        key = self.keys[pair](student.hidden[block]).unflatten(-1, (self.teacher_heads, -1))
        return query.transpose(1, 2), key.transpose(1, 2)


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Prediction loss, eq. 10: -softmax(z_teacher / T) . log_softmax(z_student / T), mean over the batch.

    As in eq. 10 it is not multiplied by T^2. That factor (Hinton et al. 2015, section 2) keeps the size of
    the gradient when the loss is mixed with one on hard labels; here it is alone in its phase. Who mixes
    them multiplies. Logits: (batch, classes).
    """
    target = (teacher_logits.float() / temperature).softmax(-1)
    return -(target * F.log_softmax(student_logits.float() / temperature, -1)).sum(-1).mean()
