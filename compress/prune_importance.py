"""How much a student would lose with a channel, a head or a block: three ways to guess it.

- `taylor`: |sum of w * dL/dw| over the weights that would go together, summed over batches, L the
  distillation loss: what it would change by, to first order (Molchanov et al. 2017, arXiv 1611.06440).
- `magnitude`: sum of |w|.
- `random`: by lot. It is the floor that the others have to clear.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from earkit.compress.prune_groups import BlockGroups, Group
from earkit.distill.objective import Distillation, Lesson
from earkit.distill.student import Student

Importance = Literal["taylor", "magnitude", "random"]


@dataclass(frozen=True)
class BlockScores:
    """Importance of each feed-forward channel and head of a block, and of all else in it."""

    inner: Tensor
    heads: Tensor | None
    rest: float


def taylor(
    module: Distillation, lessons: Iterable[Lesson], groups: tuple[BlockGroups, ...]
) -> tuple[BlockScores, ...]:
    """Score what can go on some lessons; the module stays as it is."""
    copied = copy.deepcopy(module).train()
    weights = dict(copied.student.named_parameters())
    scores = block_scores(groups, {name: torch.zeros_like(weight) for name, weight in weights.items()})
    for number, lesson in enumerate(lessons):
        torch.manual_seed(number)  # the losses draw too
        copied.zero_grad()
        (copied(lesson).loss_sum / lesson.frames).backward()
        change = {
            name: torch.zeros_like(weight) if weight.grad is None else weight.detach() * weight.grad
            for name, weight in weights.items()
        }
        scores = tuple(map(_added, scores, block_scores(groups, change)))
    return scores


def _added(scores: BlockScores, change: BlockScores) -> BlockScores:
    heads = scores.heads
    if heads is not None and change.heads is not None:
        heads = heads + change.heads.abs()
    return BlockScores(scores.inner + change.inner.abs(), heads, scores.rest + abs(change.rest))


def magnitude(student: Student) -> dict[str, Tensor]:
    """Score the weights by how large they are."""
    return {name: weight.detach().abs() for name, weight in student.named_parameters()}


def block_scores(groups: tuple[BlockGroups, ...], weights: Mapping[str, Tensor]) -> tuple[BlockScores, ...]:
    """Sum scores of weights over what can go."""
    found = []
    for group in groups:
        inner = group.inner.totals(weights)
        heads = group.heads.totals(weights) if group.heads else None
        whole = sum(float(weights[name].double().sum()) for name in group.names)
        told = float(inner.sum()) + (float(heads.sum()) if heads is not None else 0.0)
        found.append(BlockScores(inner, heads, whole - told))
    return tuple(found)


def lots(
    groups: tuple[BlockGroups, ...], weights: Mapping[str, Tensor], seed: int
) -> tuple[BlockScores, ...]:
    """Draw scores: for each channel the number of its weights, times a number between 0 and 1."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(group: Group) -> Tensor:
        return group.totals(ones) * torch.rand(group.channels, generator=generator, dtype=torch.float64)

    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}
    counts = block_scores(groups, ones)
    return tuple(
        BlockScores(
            drawn(group.inner),
            drawn(group.heads) if group.heads else None,
            count.rest * float(torch.rand((), generator=generator)),
        )
        for group, count in zip(groups, counts, strict=True)
    )
