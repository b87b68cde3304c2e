import math

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.losses.matryoshka import MatryoshkaConfig, matryoshka, truncate
from earkit.runtime.errors import ConfigError


def test_truncates_then_normalises() -> None:
    """Of (3, 4, 12) the first two are (3, 4): length 5. The other order gives (3, 4) / 13."""
    cut = truncate(torch.tensor([[3.0, 4.0, 12.0]]), 2, (2, 3))
    assert cut.tolist() == [pytest.approx([0.6, 0.8])]
    assert cut.tolist() != [pytest.approx([3 / 13, 4 / 13])]


def test_keeps_all_dimensions_before_the_last() -> None:
    frames = torch.randn(2, 5, 8)
    assert truncate(frames, 4, (4, 8)).norm(dim=-1) == pytest.approx(np.ones((2, 5)), abs=1e-6)


def test_untrained_dims_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dim 3 .* take one of 2, 4"):
        truncate(torch.randn(1, 6), 3, (2, 4))
    with pytest.raises(ConfigError, match=r"dim 8 .* take one of 2, 4"):
        truncate(torch.randn(1, 6), 8, (2, 4, 8))


@pytest.mark.parametrize("weights", [(), (1.0, 3.0, 0.0)])
def test_weighted_sum_over_prefixes(weights: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    embedding, target = torch.randn(5, 8), torch.randn(5, 8)
    values = []
    for dim in (2, 4, 8):
        rows = embedding.numpy()[:, :dim]
        unit = np.array([row / math.sqrt((row**2).sum()) for row in rows])
        values.append(((unit - target.numpy()[:, :dim]) ** 2).mean())
    seen: list[int] = []

    def loss(prefix: Tensor) -> Tensor:
        seen.append(prefix.shape[1])
        return (prefix - target[:, : prefix.shape[1]]).square().mean()

    expected = np.dot(values, weights or (1.0, 1.0, 1.0))
    assert matryoshka(embedding, (2, 4, 8), weights, loss).item() == pytest.approx(expected, abs=1e-6)
    assert seen == ([2, 4] if weights else [2, 4, 8])  # a weight of 0 costs nothing


def test_gradient_reaches_the_front_from_every_prefix() -> None:
    embedding = torch.randn(3, 4, requires_grad=True)
    matryoshka(embedding, (2, 4), (), lambda prefix: prefix[:, 0].sum()).backward()
    assert embedding.grad is not None
    assert (embedding.grad != 0).all()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"dims": ()}, "matryoshka.dims"),
        ({"dims": (0, 32)}, "matryoshka.dims"),
        ({"dims": (64, 32)}, "matryoshka.dims"),
        ({"dims": (32, 32)}, "matryoshka.dims"),
        ({"weights": (1.0,)}, "one for each"),
        ({"weights": (1.0, 1.0, -1.0, 1.0)}, "0 or more"),
        ({"weights": (0.0, 0.0, 0.0, 0.0)}, "above 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        MatryoshkaConfig(**settings)
