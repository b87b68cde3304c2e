import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.codes import Codes, CodesConfig
from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets
from earkit.runtime.errors import ConfigError

SHAPE = PairShape(6, 2, 8, 4, ((2, 4),), codebooks=3, codebook_size=5)


def lengths(*frames: int) -> Tensor:
    return torch.arange(max(frames))[None] < torch.tensor(frames)[:, None]


def pair(valid: Tensor) -> tuple[StudentTrace, Targets]:
    torch.manual_seed(0)
    hidden = tuple(torch.randn(*valid.shape, 6, requires_grad=True) for _ in range(3))
    codes = (2 * torch.randn(3, *valid.shape, 5)).log_softmax(-1)
    return StudentTrace(hidden, valid), Targets(valid, codes=codes)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_against_loops(temperature: float) -> None:
    student, teacher = pair(lengths(4, 2))
    loss = Codes(CodesConfig(temperature=temperature), SHAPE)
    weight = loss.heads.weight.detach().numpy().reshape(3, 5, 6)  # one (size, dim) for each codebook
    bias = loss.heads.bias.detach().numpy().reshape(3, 5)
    frames = student.hidden[2].detach().numpy()
    divergences = []
    for book in range(3):
        for clip, count in enumerate([4, 2]):
            for frame in range(count):
                logits = weight[book] @ frames[clip, frame] + bias[book]
                found = softmax(logits / temperature)
                target = softmax(teacher.codes[book, clip, frame].numpy() / temperature)
                divergences.append((target * np.log(target / found)).sum())
    expected = temperature**2 * np.mean(divergences)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_zero_when_the_student_predicts_the_same() -> None:
    student, teacher = pair(lengths(4, 2))
    loss = Codes(CodesConfig(), SHAPE)
    same = dataclasses.replace(teacher, codes=loss.logits(student.hidden[2]).detach().log_softmax(-1))
    assert same.codes.shape == (3, 2, 4, 5)
    assert loss(student, same).item() == pytest.approx(0, abs=1e-6)


def test_a_codeword_that_the_teacher_excludes() -> None:
    """Log probability -inf, as of a codeword that underflowed, counts as probability 0."""
    student, teacher = pair(lengths(3))
    teacher.codes[..., 0] = float("-inf")
    teacher = dataclasses.replace(teacher, codes=teacher.codes.log_softmax(-1))
    loss = Codes(CodesConfig(), SHAPE)
    found = loss(student, teacher)
    found.backward()
    prediction = loss.logits(student.hidden[2]).detach().log_softmax(-1)[..., 1:]
    target = teacher.codes[..., 1:]
    assert found.item() == pytest.approx(
        float((target.exp() * (target - prediction)).sum(-1).mean()), rel=1e-5
    )
    assert bool(student.hidden[2].grad.isfinite().all())


def test_padding_does_not_matter() -> None:
    loss = Codes(CodesConfig(), SHAPE)
    valid = lengths(5, 3)
    student, teacher = pair(valid)

    def padded(x: Tensor) -> Tensor:
        return torch.cat([x, torch.randn(*x.shape[:-2], 2, x.shape[-1])], dim=-2)

    longer = torch.cat([valid, torch.zeros(2, 2, dtype=torch.bool)], dim=1)
    again = loss(
        StudentTrace(tuple(map(padded, student.hidden)), longer), Targets(longer, codes=padded(teacher.codes))
    )
    torch.testing.assert_close(again, loss(student, teacher))


def test_no_valid_frame_is_zero_with_zero_gradients() -> None:
    """The teacher has none: a frame counts where both are valid."""
    student, teacher = pair(lengths(4, 4))
    teacher = dataclasses.replace(teacher, valid=torch.zeros(2, 4, dtype=torch.bool))
    loss = Codes(CodesConfig(), SHAPE)(student, teacher)
    loss.backward()
    assert loss.item() == 0
    assert not student.hidden[2].grad.any()


def test_needs_only_codes() -> None:
    assert Codes(CodesConfig(), SHAPE).needs() == Needs(codes=True)


def test_a_teacher_without_codes_is_refused() -> None:
    with pytest.raises(ConfigError, match="codes loss needs a teacher with codebooks"):
        Codes(CodesConfig(), dataclasses.replace(SHAPE, codebooks=0))


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"temperature": 0.0}, {"temperature": float("nan")}])
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"codes.{next(iter(wrong))} must be"):
        CodesConfig(**wrong)
