import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.relations import Relations, RelationsConfig
from earkit.distill.trace import Needs, PairShape, QueryKeyValue, StudentTrace, Targets
from earkit.runtime.errors import ConfigError

# Widths 12 and 18: of up to 8 relation heads, 6 divide both.
SHAPE = PairShape(12, 2, 18, 4, ((1, 2), (2, 4)), teacher_heads=2)


def attention(batch: int, heads: int, time: int, dim: int) -> QueryKeyValue:
    return QueryKeyValue(*(torch.randn(batch, heads, time, dim) for _ in range(3)))


def pair(valid: Tensor, student_heads: int = 3) -> tuple[StudentTrace, Targets]:
    torch.manual_seed(0)
    batch, time = valid.shape
    hidden = tuple(torch.randn(batch, time, 12, requires_grad=True) for _ in range(3))
    own = {2: attention(batch, student_heads, time, 12 // student_heads)} if student_heads else {}
    layers = {layer: torch.randn(batch, time, 18) for layer in (2, 4)}
    teacher = Targets(valid, layers, {layer: attention(batch, 2, time, 9) for layer in (2, 4)})
    return StudentTrace(hidden, valid, own), teacher


def lengths(*frames: int) -> Tensor:
    return torch.arange(max(frames))[None] < torch.tensor(frames)[:, None]


def relation_vectors(projection: Tensor, heads: int) -> list[np.ndarray]:
    """Concatenate the heads of one clip, (heads, time, d), and split again: (time, d_r) for each head."""
    return np.split(np.concatenate(list(projection.numpy()), axis=1), heads, axis=1)


def relation(vectors: np.ndarray, query: int) -> np.ndarray:
    """Eq. 4, one row: softmax over the clip's own frames of x_query . x_j / sqrt(d_r)."""
    raised = np.exp(vectors @ vectors[query] / np.sqrt(vectors.shape[1]))
    return raised / raised.sum()


def by_loops(student: Tensor, teacher: Tensor, frames: list[int], heads: int) -> float:
    """Eq. 3, with KL(teacher || student)."""
    divergences = []
    for clip, count in enumerate(frames):
        own = relation_vectors(student[clip, :, :count], heads)
        other = relation_vectors(teacher[clip, :, :count], heads)
        for x, y in zip(own, other, strict=True):
            for query in range(count):
                target, found = relation(y, query), relation(x, query)
                divergences.append(float((target * np.log(target / found)).sum()))
    return float(np.mean(divergences))


@pytest.mark.parametrize("part", ["query", "key", "value"])
@pytest.mark.parametrize(("heads", "used"), [(8, 6), (3, 3), (5, 3), (1, 1)])
def test_against_an_explicit_softmax(part: str, heads: int, used: int) -> None:
    frames = [5, 3]
    student, teacher = pair(lengths(*frames))
    weights = {name: 2.0 * (name == part) for name in ("query", "key", "value", "gram")}
    found = Relations(RelationsConfig(heads=heads, **weights), SHAPE)(student, teacher).item()
    own, other = getattr(student.attention[2], part), getattr(teacher.attention[4], part)
    assert found == pytest.approx(2 * by_loops(own, other, frames, used), rel=1e-4)


def test_heads_of_another_width_than_the_student() -> None:
    """As of a pruned student, with 2 heads of 4 left in a width of 12: 2 relation heads divide 8 and 18."""
    frames = [5, 3]
    student, teacher = pair(lengths(*frames))
    pruned = dataclasses.replace(student, attention={2: attention(2, 2, 5, 4)})
    found = Relations(RelationsConfig(key=0, value=0, gram=0), SHAPE)(pruned, teacher).item()
    expected = by_loops(pruned.attention[2].query, teacher.attention[4].query, frames, 2)
    assert found == pytest.approx(expected, rel=1e-4)


def test_gram_against_cosines_in_loops() -> None:
    frames = [5, 3]
    student, teacher = pair(lengths(*frames))
    found = Relations(RelationsConfig(query=0, key=0, value=0, gram=3.0), SHAPE)(student, teacher).item()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    pairs = []
    for block, layer in SHAPE.layer_map:
        x, y = student.hidden[block].detach().numpy(), teacher.hidden[layer].numpy()
        errors = [
            (cosine(x[clip, i], x[clip, j]) - cosine(y[clip, i], y[clip, j])) ** 2
            for clip, count in enumerate(frames)
            for i in range(count)
            for j in range(count)
        ]
        pairs.append(np.mean(errors))
    assert found == pytest.approx(3 * np.mean(pairs), rel=1e-4)


def test_parts_add_up() -> None:
    student, teacher = pair(lengths(5, 3))
    names = ("query", "key", "value", "gram")
    alone = [
        Relations(RelationsConfig(**{name: float(name == one) for name in names}), SHAPE)(student, teacher)
        for one in names
    ]
    torch.testing.assert_close(Relations(RelationsConfig(), SHAPE)(student, teacher), sum(alone))


def test_no_loss_for_a_student_that_relates_as_the_teacher_does() -> None:
    """Rotation and another split into heads of the same projections; hidden states rotated and scaled."""
    shape = dataclasses.replace(SHAPE, student_dim=18)
    _, teacher = pair(lengths(5, 3))
    rotation = torch.linalg.qr(torch.randn(18, 18))[0]
    other = teacher.attention[4]
    split = {2: QueryKeyValue(*(x.transpose(1, 2).reshape(2, 5, 6, 3).transpose(1, 2) for x in other))}
    hidden = (teacher.hidden[2], 2 * teacher.hidden[2] @ rotation, 0.1 * teacher.hidden[4] @ rotation)
    student = StudentTrace(hidden, teacher.valid, split)
    assert Relations(RelationsConfig(), shape)(student, teacher).item() == pytest.approx(0, abs=1e-6)


def test_a_block_without_attention_learns_projections() -> None:
    loss = Relations(RelationsConfig(gram=0), SHAPE)
    student, teacher = pair(lengths(4, 2), student_heads=0)
    found = loss(student, teacher)
    found.backward()
    assert float(loss.project.weight.grad.abs().sum()) > 0
    assert float(student.hidden[2].grad.abs().sum()) > 0
    with torch.no_grad():
        made = (student.hidden[2] @ loss.project.weight.T + loss.project.bias).reshape(2, 4, 3, 12)
    own = {2: QueryKeyValue(*(made[:, None, :, part] for part in range(3)))}
    torch.testing.assert_close(found, loss(dataclasses.replace(student, attention=own), teacher))


@pytest.mark.parametrize("student_heads", [0, 3])
def test_padding_does_not_matter(student_heads: int) -> None:
    loss = Relations(RelationsConfig(), SHAPE)
    valid = lengths(5, 3)
    student, teacher = pair(valid, student_heads)

    def padded(x: Tensor) -> Tensor:  # with anything, not only zeros
        return torch.cat([x, 9 + torch.randn(*x.shape[:-2], 2, x.shape[-1])], dim=-2)

    def padded_attention(of: dict[int, QueryKeyValue]) -> dict[int, QueryKeyValue]:
        return {layer: QueryKeyValue(*map(padded, qkv)) for layer, qkv in of.items()}

    longer = torch.cat([valid, torch.zeros(2, 2, dtype=torch.bool)], dim=1)
    again = loss(
        StudentTrace(tuple(map(padded, student.hidden)), longer, padded_attention(student.attention)),
        Targets(
            longer, {k: padded(v) for k, v in teacher.hidden.items()}, padded_attention(teacher.attention)
        ),
    )
    torch.testing.assert_close(again, loss(student, teacher))


@pytest.mark.parametrize("frames", [(0, 0), (4, 0)])
def test_clips_without_frames_add_nothing(frames: tuple[int, int]) -> None:
    """Zeros, as padding has them, in a clip that is all padding: gradients stay finite."""
    valid = torch.arange(4)[None] < torch.tensor(frames)[:, None]
    student, teacher = pair(valid, student_heads=0)
    hidden = tuple((x * valid[..., None]).detach().requires_grad_() for x in student.hidden)
    loss = Relations(RelationsConfig(), SHAPE)
    found = loss(dataclasses.replace(student, hidden=hidden), teacher)
    found.backward()
    assert (found.item() == 0) == (frames == (0, 0))
    assert all(bool(x.grad.isfinite().all()) and not x.grad[1].any() for x in hidden[1:])


def test_needs_one_attention_and_the_mapped_layers() -> None:
    assert Relations(RelationsConfig(), SHAPE).needs() == Needs(frozenset({2, 4}), frozenset({4}))
    other = Relations(RelationsConfig(gram=0, teacher_layer=3), SHAPE)
    assert other.needs() == Needs(attention=frozenset({3}))


def test_another_teacher_layer() -> None:
    student, teacher = pair(lengths(5, 3))
    config = RelationsConfig(key=0, value=0, gram=0, teacher_layer=2)
    found = Relations(config, SHAPE)(student, teacher).item()
    expected = by_loops(student.attention[2].query, teacher.attention[2].query, [5, 3], 6)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_teacher_without_attention_has_only_the_gram_part() -> None:
    student, teacher = pair(lengths(5, 3))
    loss = Relations(RelationsConfig(), dataclasses.replace(SHAPE, teacher_heads=0))
    gram = Relations(RelationsConfig(query=0, key=0, value=0), SHAPE)
    torch.testing.assert_close(
        loss(student, dataclasses.replace(teacher, attention={})), gram(student, teacher)
    )
    assert loss.needs().attention == frozenset()
    assert list(loss.parameters()) == []


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        (RelationsConfig(), {"layer_map": ()}, "nothing to compare"),
        (RelationsConfig(gram=0), {"teacher_heads": 0}, "nothing to compare"),
        (RelationsConfig(teacher_layer=5), {}, "teacher_layer must be at most 4"),
    ],
)
def test_what_the_teacher_cannot_give_is_refused(config: RelationsConfig, change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Relations(config, dataclasses.replace(SHAPE, **change))


@pytest.mark.parametrize(
    "wrong", [{"weight": -1}, {"gram": float("nan")}, {"heads": 0}, {"teacher_layer": -1}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"relations.{next(iter(wrong))} must be"):
        RelationsConfig(**wrong)
