import pytest
import torch

from earkit.distill.rankme import rankme


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_equals_the_rank_when_all_directions_weigh_the_same(rank: int) -> None:
    left, right = torch.linalg.qr(torch.randn(200, 16))[0], torch.linalg.qr(torch.randn(16, 16))[0]
    features = left[:, :rank] @ right[:rank]
    assert rankme(features) == pytest.approx(rank, rel=1e-3)


def test_against_the_formula_in_numpy() -> None:
    import numpy as np

    features = torch.randn(100, 8) @ torch.diag(torch.arange(1.0, 9.0))
    s = np.linalg.svd(features.numpy(), compute_uv=False)
    p = s / s.sum() + 1e-7
    assert rankme(features) == pytest.approx(float(np.exp(-(p * np.log(p)).sum())), rel=1e-4)
