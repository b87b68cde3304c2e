"""Principal axes against data whose axes are known."""

import numpy as np
import torch

from earkit.distill.principal_axes import principal_axes


def test_axes_of_a_cloud_of_known_shape_are_found_longest_first() -> None:
    rng = np.random.default_rng(0)
    wanted = torch.from_numpy(np.linalg.qr(rng.normal(size=(4, 4)))[0]).float()  # rows
    cloud = torch.from_numpy(rng.normal(size=(20_000, 4))).float() * torch.tensor([1.0, 8.0, 2.0, 4.0])
    axes = principal_axes(cloud @ wanted + 5)
    torch.testing.assert_close(axes @ axes.T, torch.eye(4))
    cosines = (axes @ wanted[[1, 3, 2, 0]].T).diagonal()
    torch.testing.assert_close(cosines.abs(), torch.ones(4), atol=2e-3, rtol=0)


def test_a_sign_is_not_left_to_chance() -> None:
    cloud = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(principal_axes(-cloud), principal_axes(cloud))
    assert (principal_axes(cloud).max(1).values > -principal_axes(cloud).min(1).values).all()


def test_fewer_vectors_than_dims_still_give_a_whole_basis() -> None:
    axes = principal_axes(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(axes @ axes.T, torch.eye(8))
