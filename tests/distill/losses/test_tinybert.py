import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.tinybert import TinyBERT, TinyBERTConfig, soft_cross_entropy
from earkit.distill.trace import Needs, PairShape, QueryKeyValue, StudentTrace, Targets
from earkit.runtime.errors import ConfigError

SHAPE = PairShape(6, 2, 8, 4, ((1, 2), (2, 4)), teacher_heads=2)


def attention(batch: int, heads: int, time: int, dim: int) -> QueryKeyValue:
    return QueryKeyValue(*(torch.randn(batch, heads, time, dim) for _ in range(3)))


def pair(valid: Tensor, student_heads: int = 0) -> tuple[StudentTrace, Targets]:
    torch.manual_seed(0)
    batch, time = valid.shape
    hidden = tuple(torch.randn(batch, time, 6, requires_grad=True) for _ in range(3))
    own = {b: attention(batch, student_heads, time, 3) for b in (1, 2)} if student_heads else {}
    layers = {layer: torch.randn(batch, time, 8) for layer in (0, 2, 4)}
    return StudentTrace(hidden, valid, own), Targets(
        valid, layers, {layer: attention(batch, 2, time, 4) for layer in (2, 4)}
    )


def lengths(*frames: int) -> Tensor:
    return torch.arange(max(frames))[None] < torch.tensor(frames)[:, None]


def hand_worked() -> tuple[PairShape, StudentTrace, Targets]:
    """Two blocks of width 1, two layers of width 1, one clip of two frames, one head."""
    valid = lengths(2)

    def frames(first: float, second: float) -> Tensor:
        return torch.tensor([[[float(first)], [float(second)]]])

    def qkv(query: Tensor, key: Tensor) -> QueryKeyValue:
        return QueryKeyValue(query[None], key[None], torch.zeros(1, 1, 2, 1))

    student = StudentTrace(
        (frames(1, 2), frames(0, 1), frames(3, -1)),
        valid,
        {1: qkv(frames(1, 2), frames(1, 0)), 2: qkv(frames(10, 0), frames(1, 2))},
    )
    teacher = Targets(
        valid,
        {0: frames(3, 4), 1: frames(1, 1), 2: frames(4, -4)},
        {1: qkv(frames(1, 1), frames(2, 0)), 2: qkv(frames(8, 0), frames(1, 2))},
    )
    return PairShape(1, 2, 1, 2, ((1, 1), (2, 2)), teacher_heads=1), student, teacher


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # W_e = 3: (3*1 - 3)^2 = 0, (3*2 - 4)^2 = 4, mean 2.
        (TinyBERTConfig(attention=0, hidden=0), 2.0),
        # W_h = 2. Block 1: (0 - 1)^2, (2 - 1)^2, mean 1. Block 2: (6 - 4)^2, (-2 + 4)^2, mean 4. Sum 5.
        (TinyBERTConfig(attention=0, embedding=0), 5.0),
        # Raw scores, d = 1. Block 1: [[1, 0], [2, 0]] and [[2, 0], [2, 0]], squares 1 0 0 0, mean 0.25.
        # Block 2: [[10, 20], [0, 0]] and [[8, 16], [0, 0]], squares 4 16 0 0, mean 5. Sum 5.25.
        # After a softmax the sum would be 0.011.
        (TinyBERTConfig(hidden=0, embedding=0), 5.25),
        # 10 * 5.25 + 2 * 5 + 0.5 * 2
        (TinyBERTConfig(attention=10, hidden=2, embedding=0.5), 63.5),
    ],
)
def test_two_layers_worked_by_hand(config: TinyBERTConfig, expected: float) -> None:
    shape, student, teacher = hand_worked()
    loss = TinyBERT(config, shape)
    torch.nn.init.constant_(loss.hidden.weight, 2.0)
    torch.nn.init.constant_(loss.embedding.weight, 3.0)
    assert loss(student, teacher).item() == pytest.approx(expected)


def test_scores_are_scaled_by_the_width_of_a_head() -> None:
    valid = lengths(3, 2)
    student, teacher = pair(valid, student_heads=2)
    found = TinyBERT(TinyBERTConfig(hidden=0, embedding=0), SHAPE)(student, teacher).item()
    expected = 0.0
    for block, layer in SHAPE.layer_map:
        own, other = student.attention[block], teacher.attention[layer]
        errors = [
            (
                float(own.query[b, h, i] @ own.key[b, h, j]) / np.sqrt(3)
                - float(other.query[b, h, i] @ other.key[b, h, j]) / np.sqrt(4)
            )
            ** 2
            for b, frames in enumerate([3, 2])
            for h in range(2)
            for i in range(frames)
            for j in range(frames)
        ]
        expected += np.mean(errors)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("student_heads", [0, 3])
def test_a_block_without_such_attention_learns_projections(student_heads: int) -> None:
    loss = TinyBERT(TinyBERTConfig(hidden=0, embedding=0), SHAPE)
    student, teacher = pair(lengths(4, 2), student_heads)
    before = loss(student, teacher)
    before.backward()
    assert student.hidden[1].grad is not None
    x, w = student.hidden[2].detach(), [p.weight for p in (loss.queries[1], loss.keys[1])]
    query, key = ((x @ weight.T).reshape(2, 4, 2, 4) for weight in w)
    assert float(loss.queries[1].weight.grad.abs().sum()) > 0
    # With the layer's own projections for a target, only the first pair has an error left.
    for linear in (loss.queries[1], loss.keys[1]):
        torch.nn.init.zeros_(linear.bias)
    teacher.attention[4] = QueryKeyValue(query.transpose(1, 2), key.transpose(1, 2), query)
    only_first = TinyBERT(
        TinyBERTConfig(hidden=0, embedding=0), dataclasses.replace(SHAPE, layer_map=((1, 2),))
    )
    only_first.load_state_dict(loss.state_dict(), strict=False)
    torch.testing.assert_close(loss(student, teacher), only_first(student, teacher))


@pytest.mark.parametrize("student_heads", [0, 2])
def test_padding_does_not_matter(student_heads: int) -> None:
    loss = TinyBERT(TinyBERTConfig(), SHAPE)
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


def test_frames_count_where_both_are_valid() -> None:
    loss = TinyBERT(TinyBERTConfig(), SHAPE)
    student, teacher = pair(lengths(5, 5))
    both = loss(
        dataclasses.replace(student, valid=lengths(5, 3)), dataclasses.replace(teacher, valid=lengths(4, 5))
    )
    valid = lengths(4, 3)
    valid = torch.cat([valid, torch.zeros(2, 1, dtype=torch.bool)], dim=1)
    same = loss(dataclasses.replace(student, valid=valid), dataclasses.replace(teacher, valid=valid))
    torch.testing.assert_close(both, same)


def test_no_valid_frame_is_zero_with_zero_gradients() -> None:
    student, teacher = pair(torch.zeros(2, 4, dtype=torch.bool))
    loss = TinyBERT(TinyBERTConfig(), SHAPE)(student, teacher)
    loss.backward()
    assert loss.item() == 0
    assert all(float(x.grad.abs().sum()) == 0 for x in student.hidden)


def test_needs_only_what_it_compares() -> None:
    everything = TinyBERT(TinyBERTConfig(), SHAPE).needs()
    assert everything == Needs(frozenset({0, 2, 4}), frozenset({2, 4}))
    assert TinyBERT(TinyBERTConfig(attention=0, embedding=0), SHAPE).needs() == Needs(frozenset({2, 4}))
    without = dataclasses.replace(SHAPE, teacher_heads=0)
    assert TinyBERT(TinyBERTConfig(), without).needs().attention == frozenset()


def test_a_teacher_without_attention_has_the_other_parts() -> None:
    student, teacher = pair(lengths(4))
    loss = TinyBERT(TinyBERTConfig(), dataclasses.replace(SHAPE, teacher_heads=0))
    with_attention = TinyBERT(TinyBERTConfig(attention=0), SHAPE)
    with_attention.load_state_dict(loss.state_dict(), strict=False)
    teacher = dataclasses.replace(teacher, attention={})
    torch.testing.assert_close(loss(student, teacher), with_attention(student, teacher))


def test_a_teacher_without_its_input_has_the_other_parts() -> None:
    student, teacher = pair(lengths(4))
    loss = TinyBERT(TinyBERTConfig(), dataclasses.replace(SHAPE, teacher_input=False))
    assert 0 not in loss.needs().hidden
    without_embedding = TinyBERT(TinyBERTConfig(embedding=0), SHAPE)
    without_embedding.load_state_dict(loss.state_dict())
    teacher = dataclasses.replace(teacher, hidden={k: x for k, x in teacher.hidden.items() if k})
    torch.testing.assert_close(loss(student, teacher), without_embedding(student, teacher))


def test_nothing_to_compare_is_refused() -> None:
    vectors = dataclasses.replace(SHAPE, layer_map=())
    with pytest.raises(ConfigError, match="tinybert has nothing to compare"):
        TinyBERT(TinyBERTConfig(), vectors)
    without = dataclasses.replace(SHAPE, teacher_heads=0)
    with pytest.raises(ConfigError, match="tinybert has nothing to compare"):
        TinyBERT(TinyBERTConfig(hidden=0, embedding=0), without)
    neither = dataclasses.replace(SHAPE, teacher_heads=0, teacher_input=False)
    with pytest.raises(ConfigError, match="tinybert has nothing to compare"):
        TinyBERT(TinyBERTConfig(hidden=0), neither)


@pytest.mark.parametrize("name", ["weight", "without_codes", "attention", "hidden", "embedding"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_weights_that_mean_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"tinybert.{name} must be 0 or more"):
        TinyBERTConfig(**{name: value})


def test_soft_cross_entropy_by_hand() -> None:
    """T = 2. Teacher logits 2 ln 3, 0: shares 3/4, 1/4. Student logits 0, 2 ln 4: shares 1/5, 4/5."""
    teacher = torch.tensor([[2 * np.log(3), 0.0]])
    student = torch.tensor([[0.0, 2 * np.log(4)]])
    expected = -(3 / 4 * np.log(1 / 5) + 1 / 4 * np.log(4 / 5))
    assert soft_cross_entropy(student, teacher, 2.0).item() == pytest.approx(expected)
    twice = soft_cross_entropy(student.repeat(2, 1), teacher.repeat(2, 1), 2.0)
    assert twice.item() == pytest.approx(expected)
