import math

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.distance_correlation import (
    DistanceCorrelation,
    DistanceCorrelationConfig,
    distance_correlation,
)
from earkit.runtime.errors import ConfigError


def distance_matrix(x: np.ndarray) -> np.ndarray:
    return np.array([[math.dist(p, q) for q in x.tolist()] for p in x.tolist()])


def textbook(x: np.ndarray, y: np.ndarray) -> float:
    """Szekely, Rizzo, Bakirov 2007."""
    n = len(x)
    centred = [
        [[a[k, m] - a[k].mean() - a[:, m].mean() + a.mean() for m in range(n)] for k in range(n)]
        for a in (distance_matrix(x), distance_matrix(y))
    ]

    def squared_covariance(a: list[list[float]], b: list[list[float]]) -> float:
        return sum(a[k][m] * b[k][m] for k in range(n) for m in range(n)) / n**2

    a, b = centred
    variances = squared_covariance(a, a) * squared_covariance(b, b)
    return math.sqrt(squared_covariance(a, b) / math.sqrt(variances))


def bias_corrected(x: np.ndarray, y: np.ndarray) -> float:
    """Szekely and Rizzo 2014."""
    n = len(x)
    centred = []
    for a in (distance_matrix(x), distance_matrix(y)):
        u = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    rows, columns = a[i].sum() / (n - 2), a[:, j].sum() / (n - 2)
                    u[i, j] = a[i, j] - rows - columns + a.sum() / ((n - 1) * (n - 2))
        centred.append(u)

    def inner(a: np.ndarray, b: np.ndarray) -> float:
        return float(sum(a[i, j] * b[i, j] for i in range(n) for j in range(n) if i != j)) / (n * (n - 3))

    a, b = centred
    return inner(a, b) / math.sqrt(inner(a, a) * inner(b, b))


def related(n: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(n, 3)
    return x, torch.cat([x.square(), torch.randn(n, 2)], dim=1)


def test_against_the_textbook() -> None:
    x, y = related(20)
    assert distance_correlation(x, y).item() == pytest.approx(textbook(x.numpy(), y.numpy()), abs=1e-5)


def test_bias_corrected_against_the_textbook() -> None:
    x, y = related(20)
    expected = bias_corrected(x.numpy(), y.numpy())
    assert distance_correlation(x, y, unbiased=True).item() == pytest.approx(expected, abs=1e-5)


def test_worked_case_of_three_points() -> None:
    """x = 0, 1, 2 and y = 0, 1, 0, by hand.

    Distances of x: row means 1, 2/3, 1, grand mean 8/9; centred, times 9: [-10 2 8; 2 -4 2; 8 2 -10].
    Of y: row means 1/3, 2/3, 1/3, grand mean 4/9; centred, times 9: [-2 4 -2; 4 -8 4; -2 4 -2].
    Products: 20 + 8 - 16 + 8 + 32 + 8 - 16 + 8 + 20 = 72; of x with itself 360, of y 144. dCor^2 = 72 / sqrt
    (360 * 144) = 1 / sqrt(10).
    """
    x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    assert distance_correlation(x, y).item() == pytest.approx(10**-0.25, abs=1e-6)


def test_independent_data_are_near_zero() -> None:
    """The biased estimate is of order n^-1/2, the corrected one is 0 on average and of order 1 / n."""
    torch.manual_seed(0)
    assert distance_correlation(torch.randn(1500, 1), torch.randn(1500, 1)).item() < 0.07
    draws = [
        distance_correlation(torch.randn(50, 8), torch.randn(50, 16), unbiased=True).item() for _ in range(60)
    ]
    assert np.mean(draws) == pytest.approx(0, abs=0.02)
    biased = distance_correlation(torch.randn(50, 8), torch.randn(50, 16)).item()
    assert biased > 0.4  # what the correction is for


@pytest.mark.parametrize("unbiased", [False, True])
def test_linear_data_are_one(unbiased: bool) -> None:
    x = torch.linspace(-3, 5, 40)[:, None]
    assert distance_correlation(x, 7 - 2 * x, unbiased=unbiased).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("unbiased", [False, True])
def test_moved_turned_and_scaled_data_are_the_same(unbiased: bool) -> None:
    x, y = related(30)
    wide = torch.linalg.qr(torch.randn(9, 9))[0][:3]  # isometry from 3 into 9 dimensions
    moved = 40 * x @ wide + 50_000  # features with a large mean
    value = distance_correlation(x, y, unbiased=unbiased).item()
    assert distance_correlation(moved, y, unbiased=unbiased).item() == pytest.approx(value, abs=1e-4)
    assert distance_correlation(x, moved, unbiased=unbiased).item() == pytest.approx(1, abs=1e-4)
    assert value < 0.9


@pytest.mark.parametrize("unbiased", [False, True])
def test_gradient_is_finite_where_points_coincide(unbiased: bool) -> None:
    x, y = related(12)
    x[3] = x[4] = x[5]
    x.requires_grad_()
    distance_correlation(x, y, unbiased=unbiased).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).any(1).all()


@pytest.mark.parametrize("unbiased", [False, True])
def test_what_stands_still_correlates_with_nothing(unbiased: bool) -> None:
    x = torch.full((6, 3), 0.7, requires_grad=True)
    value = distance_correlation(x, torch.randn(6, 2), unbiased=unbiased)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_gradient_is_that_of_differences() -> None:
    x, y = related(10)
    x.requires_grad_()
    distance_correlation(x, y).backward()
    assert x.grad is not None
    step = np.zeros((10, 3))
    step[2, 1] = 1e-5
    base = x.detach().numpy().astype(float)
    slope = (textbook(base + step, y.numpy()) - textbook(base - step, y.numpy())) / 2e-5
    assert x.grad[2, 1].item() == pytest.approx(slope, abs=1e-5)


def test_loss_takes_the_same_rows_of_both() -> None:
    loss = DistanceCorrelation(DistanceCorrelationConfig(most=8))
    x = torch.randn(100, 3)
    assert loss(x, 2 * x).item() == pytest.approx(0, abs=1e-5)
    y = torch.randn(100, 4)
    first, again, other = (loss(x, y, torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2))
    assert first == again != other
    rows = torch.randperm(100, generator=torch.Generator().manual_seed(1))[:8]
    assert first == pytest.approx(1 - textbook(x[rows].numpy(), y[rows].numpy()), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_are_not_corrected(n: int) -> None:
    loss = DistanceCorrelation(DistanceCorrelationConfig(unbiased=True))
    assert torch.isfinite(loss(torch.randn(n, 3), torch.randn(n, 2)))


def test_whatever_the_precision_of_training() -> None:
    x, y = related(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = distance_correlation(x, y).item()
    assert value == pytest.approx(distance_correlation(x, y).item(), abs=1e-6)


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"weight": math.inf}, {"most": 3}, {"on": "clips"}])
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError, match=f"distance_correlation.{next(iter(settings))}"):
        DistanceCorrelationConfig(**settings)
