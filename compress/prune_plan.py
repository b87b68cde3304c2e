"""Which channels, heads and blocks go: the least important per what they cost, until a budget is met.

One budget over the whole network: where little is lost much goes, and a block may go entirely. Feed-forward
channels go by sixteens: onnxruntime's matrix products take a step up in time right behind each multiple.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from earkit.compress.prune_groups import KeptBlock, shape
from earkit.compress.prune_importance import BlockScores
from earkit.distill.student import StudentConfig
from earkit.runtime.errors import ConfigError

ROUND = 16
"""Widths of feed-forward layers become multiples of this, and keep at least so many channels."""

Spent = Callable[[StudentConfig], int]
"""What a student costs, in what the budget is given in."""


@dataclass(frozen=True)
class _Left:
    """What is left of a block: so many of its most important channels and heads."""

    block: int
    inner: int
    heads: int


@dataclass(frozen=True)
class _Step:
    """What could go next: its importance, and what would be left of all blocks without it."""

    importance: float
    left: tuple[_Left, ...]
    whole: bool = False


def plan(
    config: StudentConfig, scores: Sequence[BlockScores], spent: Spent, budget: float
) -> tuple[KeptBlock, ...]:
    """Choose what stays, at most `budget` of what `spent` counts."""
    orders = [_Order(each) for each in scores]
    left = tuple(_Left(k, config.inner_dim(k + 1), config.heads_of(k + 1)) for k in range(config.depth))
    while (now := spent(_shape(config, left))) > budget:
        best: tuple[float, tuple[_Left, ...]] | None = None
        for step in _steps(config, orders, left):
            saved = now - spent(_shape(config, step.left))
            if step.whole and saved > now - budget and any(each.inner > ROUND for each in left):
                continue  # it would take more than is asked for
            if best is None or step.importance / saved < best[0]:
                best = step.importance / saved, step.left
        if best is None:
            raise ConfigError(
                f"pruned as far as it goes, this student still costs {now}, not {budget:.0f}: give a larger "
                "budget, or distil a smaller student"
            )
        left = best[1]
    return tuple(orders[each.block].kept(each) for each in left)


class _Order:
    """Channels and heads of a block, the least important first."""

    def __init__(self, scores: BlockScores) -> None:
        self.inner, self.heads, self.rest = scores.inner, scores.heads, scores.rest
        self.inner_order = scores.inner.argsort()
        self.head_order = scores.heads.argsort() if scores.heads is not None else None

    def inner_lost(self, before: int, after: int) -> float:
        """Sum the importance that goes when of `before` channels `after` stay."""
        return _lost(self.inner, self.inner_order, before, after)

    def heads_lost(self, before: int, after: int) -> float:
        """Sum that of heads."""
        if self.heads is None or self.head_order is None:
            return 0.0
        return _lost(self.heads, self.head_order, before, after)

    def kept(self, left: _Left) -> KeptBlock:
        """Name what stays."""
        inner = self.inner_order[len(self.inner) - left.inner :].sort().values
        if self.heads is None or self.head_order is None:
            return KeptBlock(left.block, inner, None)
        return KeptBlock(left.block, inner, self.head_order[len(self.heads) - left.heads :].sort().values)


def _lost(scores: Tensor, order: Tensor, before: int, after: int) -> float:
    return float(scores[order[len(order) - before : len(order) - after]].sum())


def _steps(config: StudentConfig, orders: Sequence[_Order], left: tuple[_Left, ...]) -> Iterator[_Step]:
    """Name all that could go next."""
    least_heads = int(config.block == "attention")
    for place, each in enumerate(left):
        order = orders[each.block]
        if each.inner > ROUND:
            fewer = dataclasses.replace(each, inner=each.inner - (each.inner % ROUND or ROUND))
            yield _Step(order.inner_lost(each.inner, fewer.inner), _with(left, place, fewer))
        if each.heads > least_heads:
            fewer = dataclasses.replace(each, heads=each.heads - 1)
            yield _Step(order.heads_lost(each.heads, fewer.heads), _with(left, place, fewer))
        if len(left) > 1:
            whole = order.inner_lost(each.inner, 0) + order.heads_lost(each.heads, 0) + order.rest
            yield _Step(whole, _with(left, place), whole=True)


def _with(left: tuple[_Left, ...], place: int, *instead: _Left) -> tuple[_Left, ...]:
    return (*left[:place], *instead, *left[place + 1 :])


def _shape(config: StudentConfig, left: tuple[_Left, ...]) -> StudentConfig:
    return shape(config, [each.inner for each in left], [each.heads for each in left])
