import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.stella import (
    Stella,
    StellaConfig,
    draw_triples,
    relative_similarity,
    similarities,
)
from earkit.runtime.errors import ConfigError


def at(*degrees: float) -> Tensor:
    """Make unit vectors in the plane."""
    angles = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def hinges(student: np.ndarray, teacher: np.ndarray, margin: float) -> list[float]:
    n = len(student)
    return [
        max(0.0, cosine(student[a], student[q]) - cosine(student[a], student[p]) + margin)
        for a in range(n)
        for p in range(n)
        for q in range(n)
        if len({a, p, q}) == 3 and cosine(teacher[a], teacher[p]) > cosine(teacher[a], teacher[q])
    ]


def test_hinge_on_a_worked_triple() -> None:
    """Teacher at 0, 0, 90 degrees, student at 0, 60, 90.

    Anchor 0 has cosines 1 and 0, of the student 1/2 and 0: in order, by more than the margin.
    Anchor 1 has 1 and 0, of the student 1/2 and cos 30: wrong way round, hinge 0.866 - 0.5 + 0.015.
    Anchor 2 is as far from both: the teacher gives no order.
    """
    triples = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    ours, theirs = similarities(at(0, 60, 90)), torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]])
    wrong = math.cos(math.pi / 6) - 0.5 + 0.015
    assert relative_similarity(ours, theirs, triples[1:2], 0.015).item() == pytest.approx(wrong, abs=1e-6)
    assert relative_similarity(ours, theirs, triples[:1], 0.015).item() == 0.0
    assert relative_similarity(ours, theirs, triples[2:], 0.015).item() == 0.0
    assert relative_similarity(ours, theirs, triples, 0.015).item() == pytest.approx(wrong / 2, abs=1e-6)


def test_against_loops() -> None:
    torch.manual_seed(0)
    loss = Stella(StellaConfig(cosine=3.0, similarity=5.0, relative=7.0, margin=0.1), 4, 6)
    student, teacher = torch.randn(7, 4), torch.randn(7, 6)
    s, t = student.numpy(), teacher.numpy()
    projected = s @ loss.projection.weight.detach().numpy().T + loss.projection.bias.detach().numpy()
    expected = (
        3 * np.mean([1 - cosine(projected[i], t[i]) for i in range(7)])
        + 5 * np.mean([(cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2 for i in range(7) for j in range(7)])
        + 7 * np.mean(hinges(s, t, 0.1))
    )
    assert loss(student, teacher).item() == pytest.approx(expected, abs=1e-5)


def test_matryoshka_prefix_uses_the_first_columns() -> None:
    torch.manual_seed(0)
    loss = Stella(StellaConfig(cosine=1.0, similarity=0.0, relative=0.0), 4, 6)
    student, teacher = torch.randn(5, 4), torch.randn(5, 6)
    filled = torch.cat([student[:, :2], torch.zeros(5, 2)], dim=1)
    assert loss(student[:, :2], teacher).item() == pytest.approx(loss(filled, teacher).item(), abs=1e-6)


@pytest.mark.parametrize(("n", "count"), [(1, 0), (2, 0), (3, 3), (6, 60)])
def test_few_rows_have_every_triple_once(n: int, count: int) -> None:
    triples = {(int(a), frozenset([int(p), int(q)])) for a, p, q in draw_triples(n, 60)}
    assert len(triples) == len(draw_triples(n, 60)) == count
    assert all(len(others) == 2 and anchor not in others for anchor, others in triples)


def test_many_rows_have_drawn_triples() -> None:
    triples = draw_triples(7, 100, torch.Generator().manual_seed(1))
    assert triples.shape == (100, 3)
    assert all(len(set(triple)) == 3 and 0 <= min(triple) <= max(triple) < 7 for triple in triples.tolist())
    assert torch.equal(triples, draw_triples(7, 100, torch.Generator().manual_seed(1)))
    assert not torch.equal(triples, draw_triples(7, 100, torch.Generator().manual_seed(2)))


def test_drawn_triples_are_uniform() -> None:
    """5 rows have 30 triples, 60 if the two others count in order: of 29 draws, 500 times, each gets 1/60."""
    draws = torch.cat([draw_triples(5, 29, torch.Generator().manual_seed(seed)) for seed in range(500)])
    triples, counts = np.unique(draws.numpy(), axis=0, return_counts=True)
    assert len(triples) == 60
    assert counts == pytest.approx(np.full(60, 29 * 500 / 60), abs=5 * math.sqrt(29 * 500 / 60))


def test_single_row_and_reduced_precision() -> None:
    loss = Stella(StellaConfig(), 4, 6)
    assert torch.isfinite(loss(torch.randn(1, 4), torch.randn(1, 6)))
    student, teacher = torch.randn(8, 4), torch.randn(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert similarities(student).dtype == torch.float32
        assert torch.equal(similarities(student).diagonal().round(decimals=6), torch.ones(8))
    assert torch.isfinite(loss(student, teacher.half()))


def test_training_brings_the_order_of_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(8, 6)
    student = torch.randn(8, 4, requires_grad=True)
    loss = Stella(StellaConfig(cosine=0.0, similarity=0.0), 4, 6)
    before = np.mean(np.array(hinges(student.detach().numpy(), teacher.numpy(), 0.0)) > 0)
    optimizer = torch.optim.Adam([student], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert np.mean(np.array(hinges(student.detach().numpy(), teacher.numpy(), 0.0)) > 0) < before / 2


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(StellaConfig)])
def test_negative_settings_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=f"stella.{field}"):
        StellaConfig(**{field: -1})


def test_no_triples_and_nan_are_refused() -> None:
    with pytest.raises(ConfigError, match="relative"):
        StellaConfig(most_triples=0)
    with pytest.raises(ConfigError, match="weight"):
        StellaConfig(weight=math.nan)
