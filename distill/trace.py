"""What a distillation loss sees: the student's trace and the teacher's targets, on one grid of frames.

Both are padded: a loss counts frames only where both are valid, and gives the mean over those.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class QueryKeyValue(NamedTuple):
    """Projections of one block's attention, each (batch, heads, time, dim / heads).

    Attention scores are query @ key^T / sqrt(dim / heads); WavLM adds its position bias to them, which
    is not in here. A padded frame has zeros.
    """

    query: Tensor
    key: Tensor
    value: Tensor


@dataclass(frozen=True)
class StudentTrace:
    """What the student made of a batch; blocks count from 1, padded frames are zero.

    hidden: (batch, time, dim) for 0, the input of the first block, to depth, the output of the last.
    attention: of those blocks that have one. valid: (batch, time), true where audio is.
    """

    hidden: tuple[Tensor, ...]
    valid: Tensor
    attention: dict[int, QueryKeyValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Targets:
    """What one teacher made of the same batch, pooled to the student's frames; padded frames are zero.

    hidden: (batch, time, teacher dim) by teacher layer, 0 is the input of its first block. attention: by
    teacher block. codes: (codebooks, batch, time, size), log probabilities. vector: (batch, teacher dim),
    one for each clip, of a teacher that gives nothing finer. valid: (batch, time), true where the teacher
    has frames; all false for a teacher of vectors alone.
    """

    valid: Tensor
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, QueryKeyValue] = field(default_factory=dict)
    codes: Tensor | None = None
    vector: Tensor | None = None


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of `values` where `counted`, of the same shape; 0 where nothing counts."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


@dataclass(frozen=True)
class PairShape:
    """Sizes of a student and one teacher that learn together; `layer_map` pairs a block with a layer.

    layer_map: (student block, teacher layer), both counted from 1, in the order of the blocks.
    teacher_heads: 0 for a teacher without attention. codebooks: 0 for one without codes.
    teacher_input: whether its layer 0, the input of its first block, can be had.
    """

    student_dim: int
    student_depth: int
    teacher_dim: int
    teacher_layers: int
    layer_map: tuple[tuple[int, int], ...]
    teacher_heads: int = 0
    codebooks: int = 0
    codebook_size: int = 0
    teacher_input: bool = True


@dataclass(frozen=True)
class Needs:
    """What a loss wants of a teacher, so that nothing else is computed or cached."""

    hidden: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()
    codes: bool = False
    vector: bool = False

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.hidden | other.hidden,
            self.attention | other.attention,
            self.codes or other.codes,
            self.vector or other.vector,
        )
