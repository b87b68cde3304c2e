import math

import numpy as np
import pytest
import torch

from earkit.distill.losses.contrast import ContrastConfig, contrast
from earkit.runtime.errors import ConfigError


def nt_xent(one: np.ndarray, other: np.ndarray, temperature: float, same: np.ndarray) -> float:
    """Chen et al. 2020, equation 1, with loops."""
    n, losses = len(one), []
    views = [row / math.sqrt((row**2).sum()) for row in (*one, *other)]
    for u in range(2 * n):
        positive = (u + n) % (2 * n)
        terms = [
            math.exp(float(views[u] @ views[v]) / temperature)
            for v in range(2 * n)
            if v == positive or (v != u and not same[u % n, v % n])
        ]
        losses.append(-math.log(math.exp(float(views[u] @ views[positive]) / temperature) / sum(terms)))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_against_loops(temperature: float, masked: bool) -> None:
    torch.manual_seed(0)
    one, other = torch.randn(6, 5), torch.randn(6, 5)
    same = torch.zeros(6, 6, dtype=torch.bool)
    if masked:
        same[0, 1] = same[1, 0] = same[2, 5] = same[5, 2] = same[3, 3] = True
    expected = nt_xent(one.numpy(), other.numpy(), temperature, same.numpy())
    assert contrast(one, other, temperature, same).item() == pytest.approx(expected, abs=1e-5)
    if not masked:
        assert contrast(one, other, temperature).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_known_value_of_orthogonal_clips(n: int) -> None:
    """Views alike, clips orthogonal: one cosine of 1 among 2n - 2 of 0, log(1 + (2n - 2) exp(-1 / T))."""
    rows = 3 * torch.eye(n)
    expected = math.log(1 + (2 * n - 2) * math.exp(-2))
    assert contrast(rows, 5 * rows, 0.5).item() == pytest.approx(expected, abs=1e-6)


def test_known_value_of_views_with_nothing_in_common() -> None:
    """All 2n views orthogonal: the partner is one of 2n - 1, log(2n - 1)."""
    views = torch.eye(8)
    assert contrast(views[:4], views[4:], 0.1).item() == pytest.approx(math.log(7), abs=1e-6)


def test_symmetric() -> None:
    one, other = torch.randn(5, 3), torch.randn(5, 3)
    assert contrast(one, other, 0.2).item() == pytest.approx(contrast(other, one, 0.2).item(), abs=1e-6)


def test_all_the_same_clip_has_no_negatives() -> None:
    one = torch.randn(4, 3, requires_grad=True)
    loss = contrast(one, torch.randn(4, 3), 0.1, torch.ones(4, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert one.grad is not None
    assert torch.isfinite(one.grad).all()


@pytest.mark.parametrize(
    "settings", [{"weight": -0.1}, {"weight": math.nan}, {"temperature": 0.0}, {"temperature": math.inf}]
)
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError, match=f"contrast.{next(iter(settings))}"):
        ContrastConfig(**settings)
