"""Principal axes, against NumPy's, and what a turn must and must not change."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.losses.csr import CSRConfig
from earkit.distill.principal_axes import SecondMoment, axes, turn
from earkit.distill.student import StudentConfig

DIM = 16


def student() -> DistilledStudent:
    torch.manual_seed(0)
    config = StudentConfig(size="custom", dim=32, depth=1, embedding_dim=DIM)
    sparse = CSRConfig(width=32, k=4, k_min=2, k_max=8)
    model = DistilledStudent(config, Outputs(dims=(4, DIM), sparse=sparse, classes=("owl", "wren"))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.student.pooling.centre.normal_()
    return model


def some_turn() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1)))[0]


def test_axes_are_those_of_numpy_strongest_first() -> None:
    rng = np.random.default_rng(0)
    spread = np.diag([1.0, 5.0, 0.1, 2.0])
    rows = rng.normal(size=(500, 4)) @ spread
    found = axes(torch.tensor(rows.T @ rows / 500)).numpy()
    expected = np.linalg.svd(rows, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)
    assert all(row[np.abs(row).argmax()] > 0 for row in found)
    assert np.abs(found[0]).argmax() == 1


def test_the_moment_converges_to_that_of_unit_vectors() -> None:
    made = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 1, 1, 1])
    kept = SecondMoment(4)
    for _ in range(600):
        kept.follow(made)
    unit = F.normalize(made, dim=1)
    torch.testing.assert_close(kept.moment, unit.T @ unit / 64, atol=1e-4, rtol=0)
    assert float(kept.moment.trace()) == pytest.approx(1, abs=1e-4)


def test_a_turn_changes_the_basis_of_the_embedding_and_nothing_that_is_made_of_it() -> None:
    model, to = student(), some_turn()
    audio, lengths = torch.randn(3, 8000) / 10, torch.tensor([8000, 4000, 6000])

    def made() -> dict[str, torch.Tensor]:
        with torch.inference_mode():
            frames, valid = model.frames(audio, lengths)
            whole = model.student.pool(frames, valid)
            embedding = model.embed(audio, lengths)
            assert model.sparse is not None
            assert model.classifier is not None
            indices, values = model.sparse.encode(embedding, 4)
            decoded = model.sparse.decode(model.sparse.dense(embedding, 4))
            scores = model.classifier(whole)
        return {
            "e": embedding,
            "indices": indices,
            "values": values,
            "decoded": decoded,
            "scores": scores,
        }

    before = made()
    turn(model, to)
    after = made()
    torch.testing.assert_close(after["e"], before["e"] @ to.T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after["decoded"], before["decoded"] @ to.T, atol=1e-4, rtol=1e-4)
    assert torch.equal(after["indices"], before["indices"])
    for name in ("values", "scores"):
        torch.testing.assert_close(after[name], before[name], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(after["e"], before["e"], atol=1e-2)


def test_prefixes_keep_most_after_the_turn() -> None:
    rows = torch.randn(400, DIM, generator=torch.Generator().manual_seed(2)) * torch.linspace(0.1, 2, DIM)
    unit = F.normalize(rows, dim=1)
    turned = unit @ axes(unit.T @ unit / 400).T
    kept = [float(x[:, :4].square().sum(1).mean()) for x in (unit, turned)]
    best = np.linalg.eigvalsh((unit.T @ unit / 400).numpy())[-4:].sum()
    assert kept[1] == pytest.approx(best, abs=1e-4)
    assert kept[0] < 0.5 * kept[1]
