import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.masked import Masked, MaskedConfig, draw
from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets
from earkit.runtime.errors import ConfigError

SHAPE = PairShape(6, 3, 8, 4, ((1, 1), (2, 3), (3, 4)))


def lengths(*frames: int) -> Tensor:
    return torch.arange(max(frames))[None] < torch.tensor(frames)[:, None]


def pair(valid: Tensor) -> tuple[StudentTrace, Targets, Tensor]:
    torch.manual_seed(0)
    hidden = tuple(torch.randn(*valid.shape, 6, requires_grad=True) for _ in range(4))
    layers = {layer: 5 + 3 * layer * torch.randn(*valid.shape, 8) for layer in (1, 3, 4)}
    return StudentTrace(hidden, valid), Targets(valid, layers), torch.rand(valid.shape) < 0.5


def smooth_l1(difference: np.ndarray) -> np.ndarray:
    size = np.abs(difference)
    return np.where(size < 1, 0.5 * size**2, size - 0.5)


@pytest.mark.parametrize(("layers", "used"), [(0, [1, 3, 4]), (2, [3, 4]), (1, [4])])
@pytest.mark.parametrize(("error", "measure"), [("squared", np.square), ("smooth_l1", smooth_l1)])
def test_against_loops(layers: int, used: list[int], error: str, measure: np.ufunc) -> None:
    frames = [7, 4]
    student, teacher, masked = pair(lengths(*frames))
    loss = Masked(MaskedConfig(layers=layers, error=error), SHAPE)
    weight, bias = loss.predict.weight.detach().numpy(), loss.predict.bias.detach().numpy()
    errors = []
    for clip, count in enumerate(frames):
        whole = [teacher.hidden[layer][clip, :count].numpy() for layer in used]
        target = np.mean([(x - x.mean(0)) / x.std(0) for x in whole], axis=0)
        for frame in range(count):
            if masked[clip, frame]:
                found = weight @ student.hidden[3][clip, frame].detach().numpy() + bias
                errors.append(measure(found - target[frame]).mean())
    assert loss(student, teacher, masked).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_padding_does_not_matter() -> None:
    loss = Masked(MaskedConfig(), SHAPE)
    valid = lengths(6, 3)
    student, teacher, masked = pair(valid)

    def padded(x: Tensor) -> Tensor:
        return torch.cat([x, 9 + torch.randn(2, 2, x.shape[-1])], dim=1)

    longer = torch.cat([valid, torch.zeros(2, 2, dtype=torch.bool)], dim=1)
    again = loss(
        StudentTrace(tuple(map(padded, student.hidden)), longer),
        Targets(longer, {layer: padded(x) for layer, x in teacher.hidden.items()}),
        torch.cat([masked, torch.ones(2, 2, dtype=torch.bool)], dim=1),
    )
    torch.testing.assert_close(again, loss(student, teacher, masked))


def test_only_masked_frames_have_a_gradient() -> None:
    student, teacher, masked = pair(lengths(7, 4))
    Masked(MaskedConfig(), SHAPE)(student, teacher, masked).backward()
    assert torch.equal(student.hidden[3].grad.abs().sum(-1) > 0, masked & student.valid)


@pytest.mark.parametrize("nothing", ["valid", "masked"])
def test_nothing_to_predict_is_zero_with_zero_gradients(nothing: str) -> None:
    student, teacher, masked = pair(lengths(4, 4))
    none = torch.zeros(2, 4, dtype=torch.bool)
    if nothing == "valid":
        teacher, masked = dataclasses.replace(teacher, valid=none), ~none
    else:
        masked = none
    loss = Masked(MaskedConfig(), SHAPE)(student, teacher, masked)
    loss.backward()
    assert loss.item() == 0
    assert not student.hidden[3].grad.any()


def test_draw_masks_spans_of_valid_frames_alone() -> None:
    config = MaskedConfig(probability=0.4, length=6)
    valid = lengths(400, 200, 2, 1, 0)
    rng = np.random.default_rng(0)
    masks = [draw(config, valid, rng) for _ in range(40)]
    for masked in masks:
        assert not (masked & ~valid).any()
        assert masked.sum(1)[:3].gt(0).all()
        assert masked.sum(1)[3:].eq(0).all()  # a frame alone stays visible
        edges = np.flatnonzero(np.diff(np.concatenate([[0], masked[0].int().numpy(), [0]])))
        assert ((edges[1::2] - edges[::2]) >= 6).all()
    for clip, count in enumerate([400, 200]):  # overlapping spans leave exp(-0.4) of the frames visible
        share = np.mean([masked[clip].sum().item() / count for masked in masks])
        assert share == pytest.approx(1 - np.exp(-0.4), abs=0.03)


def test_draw_does_not_see_padding() -> None:
    valid = lengths(30, 12)
    longer = torch.cat([valid, torch.zeros(2, 9, dtype=torch.bool)], dim=1)
    plain = draw(MaskedConfig(), valid, np.random.default_rng(1))
    padded = draw(MaskedConfig(), longer, np.random.default_rng(1))
    assert torch.equal(padded[:, :30], plain)


def test_needs_the_layers_of_its_target() -> None:
    assert Masked(MaskedConfig(), SHAPE).needs() == Needs(frozenset({1, 3, 4}))
    assert Masked(MaskedConfig(layers=2), SHAPE).needs() == Needs(frozenset({3, 4}))


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        (MaskedConfig(), {"layer_map": ()}, "masked needs a teacher with frame features"),
        (MaskedConfig(layers=4), {}, "masked.layers is 4, but the layer map has only 3"),
    ],
)
def test_what_the_teacher_cannot_give_is_refused(config: MaskedConfig, change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Masked(config, dataclasses.replace(SHAPE, **change))


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": -1.0},
        {"probability": 0.0},
        {"probability": 1.5},
        {"length": 0},
        {"layers": -1},
        {"error": "l1"},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"masked.{next(iter(wrong))} must be"):
        MaskedConfig(**wrong)
