"""Importance: Taylor is exact where the loss is linear, and the lot is fair."""

import copy
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from earkit.compress.prune_groups import student_groups
from earkit.compress.prune_importance import block_scores, lots, magnitude, taylor
from earkit.distill.student import Student, StudentConfig

SMALL = StudentConfig(size="custom", dim=32, depth=2, heads=4, block="hybrid", bands=20, embedding_dim=16)


class Linear(nn.Module):
    """A student, and a loss that is linear in its weights: of lesson k, the sum of k * slope * weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student = Student(SMALL)
        self.slopes = {name: torch.randn_like(p) for name, p in self.student.named_parameters()}

    def forward(self, lesson: SimpleNamespace) -> SimpleNamespace:
        terms = [
            (lesson.factor * self.slopes[name] * p).sum()
            for name, p in self.student.named_parameters()
            if not name.startswith("pooling")
        ]
        return SimpleNamespace(loss_sum=lesson.frames * torch.stack(terms).sum())


def test_taylor_is_what_a_linear_loss_changes_by_channel_by_channel() -> None:
    module = Linear()
    groups, weights = student_groups(module.student), dict(module.student.named_parameters())
    before = copy.deepcopy(module.student.state_dict())
    lessons = [SimpleNamespace(factor=f, frames=n) for f, n in ((1.0, 10.0), (-3.0, 70.0))]
    scores = taylor(module, lessons, groups)
    change = block_scores(groups, {name: w.detach() * module.slopes[name] for name, w in weights.items()})
    for found, once in zip(scores, change, strict=True):
        assert torch.allclose(found.inner, 4 * once.inner.abs(), rtol=1e-4)
        assert found.heads is not None
        assert once.heads is not None
        assert torch.allclose(found.heads, 4 * once.heads.abs(), rtol=1e-4)
        assert abs(found.rest - 4 * abs(once.rest)) < 1e-3
    assert all(torch.equal(before[name], each) for name, each in module.student.state_dict().items())
    assert all(weight.grad is None for weight in weights.values())


def test_a_block_has_what_its_channels_and_heads_have_and_the_rest() -> None:
    torch.manual_seed(0)
    student = Student(SMALL)
    weights = magnitude(student)
    first, second = block_scores(student_groups(student), weights)
    for k, scores in enumerate((first, second)):
        own = [w for name, w in weights.items() if name.startswith((f"blocks.{k}.", f"norms.{k}."))]
        total = (
            float(scores.inner.sum())
            + scores.rest
            + (float(scores.heads.sum()) if scores.heads is not None else 0)
        )
        assert abs(total - sum(float(w.sum()) for w in own)) < 1e-2
    assert first.heads is not None
    assert first.heads.shape == (4,)
    assert first.inner.shape == (64,)


def test_lots_are_the_seeds_and_between_nothing_and_all_weights() -> None:
    student = Student(SMALL)
    groups, weights = student_groups(student), dict(student.named_parameters())

    def drawn(seed: int) -> Tensor:
        return torch.cat([each.inner for each in lots(groups, weights, seed)]) / 65

    one = drawn(0)
    assert torch.equal(one, drawn(0))
    assert not torch.equal(one, drawn(1))
    assert 0 <= float(one.min()) < 0.1
    assert 0.9 < float(one.max()) <= 1
