import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from earkit.distill.losses.csr import CSR, CSRConfig, neighbour_divergence, squareplus
from earkit.runtime.errors import ConfigError

SMALL = CSRConfig(width=96, k=8, k_min=2, k_max=16, dead_after=10, contrast=1.0, similarity=0.0)


def embeddings(n: int, seed: int, dim: int = 24, rank: int = 10) -> Tensor:
    """Unit vectors near a space of low rank, of sparse positive factors, as sounds are of a few causes."""
    mix = torch.randn(rank, dim, generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(seed)
    factors = torch.rand(n, rank, generator=g) * (torch.rand(n, rank, generator=g) < 0.4)
    return F.normalize(factors @ mix + 0.3 * torch.randn(n, dim, generator=g) + 0.5, dim=1)


def view_of(x: Tensor) -> Tensor:
    return F.normalize(x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(9)), dim=1)


def train(model: CSR, steps: int, rate: float = 3e-3, *, views: bool = False) -> CSR:
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        x = embeddings(96, 1 + step)
        optimizer.zero_grad()
        model(x, view_of(x) if views else None).backward()
        optimizer.step()
    return model


def code(model: CSR, x: np.ndarray, k: int) -> np.ndarray:
    """Encode one row with NumPy and a sort."""
    weight, bias = model.encoder.weight.detach().numpy(), model.encoder.bias.detach().numpy()
    latents = weight @ (x - model.centre.detach().numpy()) + bias
    z = np.zeros_like(latents)
    for latent in np.argsort(-latents)[:k]:
        z[latent] = (latents[latent] + math.sqrt(latents[latent] ** 2 + 1e-4)) / 2
    return z


def decode(model: CSR, z: np.ndarray) -> np.ndarray:
    made = model.centre.detach().numpy().copy()
    for value, direction in zip(z, model.decoder.detach().numpy(), strict=True):
        made += value * direction / np.linalg.norm(direction)
    return made


def nt_xent(views: list[np.ndarray], temperature: float) -> float:
    unit = [v / np.linalg.norm(v) for v in views]
    n, total = len(unit) // 2, 0.0
    for u in range(2 * n):
        logits = [float(unit[u] @ unit[v]) / temperature for v in range(2 * n) if v != u]
        own = float(unit[u] @ unit[(u + n) % (2 * n)]) / temperature
        total += math.log(sum(math.exp(logit) for logit in logits)) - own
    return total / (2 * n)


def unsettled() -> CSR:
    """Give a model that differs from its initialisation in every parameter."""
    torch.manual_seed(0)
    model = CSR(SMALL, 24)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.mark.parametrize("k", [2, 5, 16])
def test_exactly_k_non_zeros(k: int) -> None:
    model, x = unsettled(), embeddings(40, 1)
    indices, values = model.encode(x, k)
    assert indices.shape == values.shape == (40, k)
    assert indices.dtype == torch.int64
    assert all(len(set(row)) == k for row in indices.tolist())
    assert (values > 0).all()
    assert (values[:, 1:] <= values[:, :-1]).all()
    dense = model.dense(x, k)
    assert ((dense != 0).sum(1) == k).all()
    assert dense.detach().numpy() == pytest.approx(
        np.array([code(model, row, k) for row in x.numpy()]), abs=1e-5
    )


@pytest.mark.parametrize("bias", [-1.0, -1e4, -1e15])
def test_exactly_k_non_zeros_where_every_latent_is_negative(bias: float) -> None:
    model = CSR(SMALL, 24)
    torch.nn.init.constant_(model.encoder.bias, bias)
    x = embeddings(10, 1)
    assert (model.latents(x) < 0).all()
    assert (model.encode(x, 16)[1] > 0).all()
    assert ((model.dense(x, 16) != 0).sum(1) == 16).all()


def test_squareplus_is_relu_but_for_its_corner() -> None:
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)
    assert torch.allclose(squareplus(x), (x + (x**2 + 1e-4).sqrt()) / 2, atol=1e-15)
    assert (squareplus(x) - F.relu(x)).abs().max() == pytest.approx(0.005)
    assert (squareplus(x).diff() > 0).all()


@pytest.mark.parametrize("k", [-1, 0, 1, 17, 96])
def test_untrained_k_is_refused(k: int) -> None:
    model = CSR(SMALL, 24)
    with pytest.raises(ConfigError, match=f"k {k} .* take 2 to 16"):
        model.encode(embeddings(3, 1), k)
    with pytest.raises(ConfigError, match="take 2 to 16"):
        model.dense(embeddings(3, 1), k)


def test_begins_as_a_tied_dictionary_of_unit_directions() -> None:
    model = CSR(SMALL, 24)
    assert model.decoder.norm(dim=1).detach().numpy() == pytest.approx(np.ones(96), abs=1e-6)
    assert torch.equal(model.encoder.weight, model.decoder)
    assert model.encoder.weight is not model.decoder


def test_loss_against_loops() -> None:
    model, x = unsettled(), embeddings(12, 1)
    view = view_of(x)
    rows, others = x.numpy(), view.numpy()
    dead = [3, 10, 11, 40, 90]
    model.idle[dead] = 10
    model.auxiliary_k = 2
    variance = ((rows - rows.mean(0)) ** 2).sum()

    def error(k: int) -> float:
        return float(sum(((decode(model, code(model, row, k)) - row) ** 2).sum() for row in rows) / variance)

    def ncl(k: int) -> float:
        return nt_xent([code(model, row, k) for row in (*rows, *others)], 0.1)

    left, rebuilt_error = 0.0, 0.0
    weight, bias = model.encoder.weight.detach().numpy(), model.encoder.bias.detach().numpy()
    directions = model.decoder.detach().numpy()
    for row in rows:
        residual = row - decode(model, code(model, row, 8))
        latents = weight @ (row - model.centre.detach().numpy()) + bias
        rebuilt = np.zeros(24)
        for latent in sorted(dead, key=lambda latent: -latents[latent])[:2]:
            value = (latents[latent] + math.sqrt(latents[latent] ** 2 + 1e-4)) / 2
            rebuilt += value * directions[latent] / np.linalg.norm(directions[latent])
        left += (residual**2).sum()
        rebuilt_error += ((rebuilt - residual) ** 2).sum()
    reconstruction = (error(2) + error(8)) / 2 + error(32) / 8
    expected = reconstruction + rebuilt_error / left / 32
    model.eval()
    assert model(x).item() == pytest.approx(expected, rel=1e-4)
    assert model(x, view).item() == pytest.approx(expected + (ncl(2) + ncl(8)) / 2, rel=1e-4)


def test_pairs_of_the_same_clip_are_no_negatives() -> None:
    model, x = unsettled().eval(), embeddings(6, 1)
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert model(x, view_of(x), everything).item() == pytest.approx(model(x).item(), abs=1e-6)
    assert model(x, view_of(x)).item() > model(x).item() + 0.01


@pytest.mark.parametrize("views", [False, True])
def test_error_on_held_out_data_falls_with_k(views: bool) -> None:
    torch.manual_seed(0)
    model = train(CSR(SMALL, 24), 150, views=views).requires_grad_(requires_grad=False)
    x = embeddings(300, 10_000)
    errors = [float((model.decode(model.dense(x, k)) - x).square().sum(1).mean()) for k in range(2, 17)]
    assert all(more < fewer for fewer, more in itertools.pairwise(errors))
    variance = float((x - x.mean(0)).square().sum(1).mean())
    assert errors[-1] < 0.5 * variance


def test_gradient_reaches_encoder_decoder_and_embedding() -> None:
    model = unsettled()
    x = embeddings(64, 1).requires_grad_()
    model(x).backward()
    for tensor in (model.encoder.weight, model.encoder.bias, model.decoder, model.centre, x):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0
    # No gradient along a direction: lengths stay as they are.
    assert (model.decoder.grad * model.decoder).sum(1).detach().numpy() == pytest.approx(
        np.zeros(96), abs=1e-5
    )


def test_reconstruction_does_not_move_its_target() -> None:
    """With an encoder that sees nothing, nothing is left that could reach the embedding."""
    model = unsettled()
    torch.nn.init.zeros_(model.encoder.weight)
    x = embeddings(8, 1).requires_grad_()
    model(x).backward()
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_counts_steps_without_use() -> None:
    """A latent is used when it is among the first k of a row; only training counts."""
    model, x = unsettled(), embeddings(5, 1)
    used = sorted(set(model.encode(x, 8)[0].flatten().tolist()))
    unused = [latent for latent in range(96) if latent not in used]
    for _ in range(10):
        assert model.dead() == 0
        model(x)
    assert model.idle[used].tolist() == [0] * len(used)
    assert model.idle[unused].tolist() == [10] * len(unused)
    assert model.dead() == len(unused) > 0
    model.eval()
    model(embeddings(500, 2))
    assert model.dead() == len(unused)
    model.train()
    model(embeddings(500, 2))
    assert model.dead() < len(unused)


def test_a_checkpoint_keeps_the_count() -> None:
    model = train(unsettled(), 12)
    other = CSR(SMALL, 24)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other.idle, model.idle)
    x = embeddings(20, 3)
    assert torch.equal(other(x), model(x))


def test_auxiliary_loss_revives_dead_latents() -> None:
    """Half the latents start far below the others; the same data with the loss and without."""
    dead = {}
    for auxiliary in (0.0, 1 / 32):
        torch.manual_seed(0)
        model = CSR(dataclasses.replace(SMALL, auxiliary=auxiliary), 24)
        with torch.no_grad():
            model.encoder.bias[48:] = -0.6
        dead[auxiliary] = train(model, 12).dead(), train(model, 150).dead()
    assert dead[0.0][0] == dead[1 / 32][0] > 40
    assert dead[1 / 32][1] < dead[0.0][1] / 2


def test_exports_with_k_as_an_input(tmp_path) -> None:
    ort = pytest.importorskip("onnxruntime")

    class Encode(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = unsettled().eval()

        def forward(self, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
            count = k.item()
            torch._check(count >= 2)
            torch._check(count <= 16)
            return self.model.encode(x, count)

    encode, x = Encode().eval(), embeddings(3, 1)
    shapes = ({0: torch.export.Dim("n")}, None)
    program = torch.onnx.export(
        encode,
        (x, torch.tensor(8)),
        dynamo=True,
        input_names=["x", "k"],
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "csr.onnx")
    session = ort.InferenceSession(tmp_path / "csr.onnx")
    x = embeddings(5, 2)
    for k in (2, 7, 16):
        indices, values = session.run(None, {"x": x.numpy(), "k": np.array(k)})
        ours = encode.model.encode(x, k)
        assert indices.tolist() == ours[0].tolist()
        assert values == pytest.approx(ours[1].detach().numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"weight": -1.0},
        {"weight": math.nan},
        {"auxiliary": -1.0},
        {"auxiliary_k": -1},
        {"reconstruct_4k": -0.1},
        {"contrast": -1.0},
        {"width": 100},
        {"k_min": 0},
        {"k_min": 40},
        {"k_max": 16},
        {"k_max": 2048},
        {"dead_after": 0},
        {"temperature": 0.0},
    ],
)
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError, match=f"csr.*{next(iter(settings))}"):
        CSRConfig(**settings)


def test_neighbour_divergence_against_loops() -> None:
    rng = np.random.default_rng(0)
    code, dense = np.abs(rng.standard_normal((5, 12))), rng.standard_normal((5, 4))

    def neighbours(vectors: np.ndarray, row: int) -> np.ndarray:
        cosines = [
            v @ vectors[row] / np.linalg.norm(v) / np.linalg.norm(vectors[row])
            for i, v in enumerate(vectors)
            if i != row
        ]
        weights = np.exp(np.array(cosines) / 0.2)
        return weights / weights.sum()

    pairs = [(neighbours(dense, i), neighbours(code, i)) for i in range(5)]
    expected = np.mean([(p * np.log(p / q)).sum() for p, q in pairs])
    found = neighbour_divergence(torch.tensor(code), torch.tensor(dense), 0.2)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_neighbours_that_are_kept_cost_nothing() -> None:
    dense = F.normalize(torch.randn(6, 8), dim=1)
    turned = dense @ torch.linalg.qr(torch.randn(8, 8))[0]
    assert float(neighbour_divergence(turned, dense, 0.1)) == pytest.approx(0, abs=1e-5)
