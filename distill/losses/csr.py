"""CSR: an embedding as k of many latents, k chosen when it is used (Wen et al. 2025, "Beyond Matryoshka").

A TopK autoencoder as of Gao et al. 2024 on embeddings x, with the contrastive loss of Wang et al. 2024 on its
non-negative codes:

    z = TopK_k( squareplus( W_e (x - b) + b_e ) )        x_hat = W_d z + b

One model serves every k from `k_min` to `k_max`, so a step trains nested codes: the first `k_min`, the
first k and the first 4k of one ranking. A longer code only adds to a shorter one, so that the front of the
ranking has what matters most and the error falls with k. In trials on synthetic words, codes of 8 had a
quarter to a half less error, and found more words, than with a k drawn at random for each step or with k and
4k alone; codes of 64 were about as good.

Where papers rectify by ReLU, TopK may run out of positive latents, and a code has fewer than k. Squareplus
(Barron 2021) is ReLU but for a smooth corner, and never 0: codes have exactly k non-zeros, all positive.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from earkit.distill.losses.contrast import contrast
from earkit.runtime.errors import ConfigError

CORNER = 0.01
"""Width of squareplus's corner; codes of embeddings of length one are about 0.1 to 1."""


@dataclass(frozen=True)
class CSRConfig:
    """Latents, lengths of codes, and weights of the loss's parts next to the reconstruction at k."""

    weight: float = 0.0
    width: int = 256
    """An index of 256 latents takes a byte; on a small corpus codes of 1024 or 4096 found fewer words."""
    k: int = 32
    k_min: int = 8
    k_max: int = 64
    reconstruct_4k: float = 1 / 8
    auxiliary: float = 1 / 32
    auxiliary_k: int = 0
    """Dead latents that rebuild the residual; 0 is half the embedding's width."""
    dead_after: int = 100
    """Steps without being among the first k of any row, after which a latent counts as dead."""
    contrast: float = 3.0
    temperature: float = 0.1
    similarity: float = 10.0
    """Of `neighbour_divergence`, which is not in the paper: keep who is near whom."""

    def __post_init__(self) -> None:
        for name in ("weight", "reconstruct_4k", "auxiliary", "auxiliary_k", "contrast", "similarity"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"csr.{name} must be 0 or more, not {getattr(self, name)}")
        if not 1 <= self.k_min <= self.k <= self.k_max <= self.width:
            raise ConfigError(
                f"csr needs 1 <= k_min <= k <= k_max <= width, "
                f"not {self.k_min}, {self.k}, {self.k_max}, {self.width}"
            )
        if 4 * self.k > self.width:
            raise ConfigError(f"csr.width must be at least 4 k = {4 * self.k}, not {self.width}")
        if self.dead_after < 1:
            raise ConfigError(f"csr.dead_after must be at least 1 step, not {self.dead_after}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"csr.temperature must be above 0, not {self.temperature}")


def squareplus(x: Tensor) -> Tensor:
    """(x + sqrt(x^2 + c^2)) / 2, written so that rounding never makes it 0 for a negative x."""
    return F.relu(x) + CORNER**2 / 2 / ((x.square() + CORNER**2).sqrt() + x.abs())


def unexplained(made: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """Squared error as a share of the energy of `spread`; all (n, dim)."""
    return (made - wanted).square().sum() / spread.square().sum().clamp(min=1e-6)


class CSR(nn.Module):
    """The autoencoder. In training mode, `forward` also counts which latents are dead."""

    idle: Tensor

    def __init__(self, config: CSRConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.auxiliary_k = config.auxiliary_k or max(1, dim // 2)
        self.centre = nn.Parameter(torch.zeros(dim))
        self.decoder = nn.Parameter(F.normalize(torch.randn(config.width, dim), dim=1))
        self.encoder = nn.Linear(dim, config.width)
        with torch.no_grad():
            self.encoder.weight.copy_(self.decoder)
            self.encoder.bias.zero_()
        self.register_buffer("idle", torch.zeros(config.width, dtype=torch.int64))  # steps without being used

    @torch.no_grad()
    def turn(self, axes: Tensor) -> None:
        """Follow embeddings that were turned to other axes, (dim, dim) orthonormal rows: codes stay."""
        for tensor in (self.encoder.weight, self.decoder, self.centre):
            tensor.copy_(tensor @ axes.T)

    def latents(self, x: Tensor) -> Tensor:
        """All latents before TopK. x: (n, dim), of length one -> (n, width)."""
        return self.encoder(x - self.centre)  # type: ignore[no-any-return]

    def encode(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Sparse code: indices (n, k), int64, and values (n, k), falling and above 0.

        Dot products of codes are similarities; for cosines divide each code by its length.
        """
        if not self.config.k_min <= k <= self.config.k_max:
            raise ConfigError(
                f"k {k} is outside of what this code was trained for: "
                f"take {self.config.k_min} to {self.config.k_max}"
            )
        values, indices = self.latents(x).topk(k, dim=1)
        return indices, squareplus(values)

    def dense(self, x: Tensor, k: int) -> Tensor:
        """Give the same code with its zeros. (n, dim) -> (n, width)."""
        indices, values = self.encode(x, k)
        return values.new_zeros(len(x), self.config.width).scatter(1, indices, values)

    def decode(self, code: Tensor) -> Tensor:
        """Embedding of a code with its zeros; directions of latents have length one. -> (n, dim)."""
        return code @ F.normalize(self.decoder, dim=1) + self.centre

    def forward(self, x: Tensor, view: Tensor | None = None, same: Tensor | None = None) -> Tensor:
        """Return the loss of embeddings x: (n, dim), with contrast if there is a second `view` of each.

        same: as in `contrast`. The reconstruction's target is detached: a student that learns along shall not
        get easier to reconstruct by moving its embeddings together.
        """
        config = self.config
        latents, target = self.latents(x), x.detach()
        spread = target - target.mean(0)
        codes = nested(latents, (config.k_min, config.k, 4 * config.k))
        made = [self.decode(code) for code in codes]
        errors = [unexplained(each, target, spread) for each in made]
        loss = (errors[0] + errors[1]) / 2 + config.reconstruct_4k * errors[2]
        if self.training:
            self._count(codes[1])
        if config.auxiliary:
            loss = loss + config.auxiliary * self._auxiliary(latents, target - made[1].detach())
        if view is not None and config.contrast:
            views = nested(self.latents(view), (config.k_min, config.k))
            pulls = [contrast(a, b, config.temperature, same) for a, b in zip(codes, views, strict=False)]
            loss = loss + config.contrast * (pulls[0] + pulls[1]) / 2
        if config.similarity and len(x) > 1:
            gaps = [neighbour_divergence(code, target, config.temperature) for code in codes[:2]]
            loss = loss + config.similarity * (gaps[0] + gaps[1]) / 2
        return loss

    def _auxiliary(self, latents: Tensor, residual: Tensor) -> Tensor:
        """Dead latents, the first few of them in each row, rebuild what the code left over (AuxK)."""
        dead = self.idle >= self.config.dead_after
        count = min(self.auxiliary_k, int(dead.sum()))
        if not count:
            return residual.new_zeros(())
        (code,) = nested(latents.masked_fill(~dead, -torch.inf), (count,))
        return unexplained(code @ F.normalize(self.decoder, dim=1), residual, residual)

    @torch.no_grad()
    def _count(self, code: Tensor) -> None:
        used = (code > 0).any(0).to(self.idle.dtype)
        if dist.is_initialized():
            dist.all_reduce(used)
        self.idle.add_(1).masked_fill_(used > 0, 0)

    def dead(self) -> int:
        """Count the latents that are dead."""
        return int((self.idle >= self.config.dead_after).sum())


def neighbour_divergence(code: Tensor, dense: Tensor, temperature: float) -> Tensor:
    """KL from how near the others are by the embedding to how near they are by the code, mean over rows.

    Each row's cosines to all others, as a softmax: codes are never negative, so their cosines cannot equal
    those of embeddings, but the order of a row's neighbours can. code: (n, width), dense: (n, dim).
    """
    itself = torch.eye(len(code), dtype=torch.bool, device=code.device)
    rows = []
    for vectors in (code, dense):
        unit = F.normalize(vectors.float(), dim=1)
        rows.append((unit @ unit.T / temperature).masked_fill(itself, -1e4).log_softmax(1))
    return F.kl_div(rows[0], rows[1], reduction="batchmean", log_target=True)


def nested(latents: Tensor, lengths: tuple[int, ...]) -> list[Tensor]:
    """Codes with their zeros, one for each length, of one ranking. latents: (n, width) -> each (n, width)."""
    values, indices = latents.topk(max(lengths), dim=1)
    values = squareplus(values)
    empty = torch.zeros_like(latents)
    return [empty.scatter(1, indices[:, :k], values[:, :k]) for k in lengths]
