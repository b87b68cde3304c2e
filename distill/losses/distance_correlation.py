"""Distance correlation: dependence between features of any two widths (Szekely, Rizzo, Bakirov 2007).

With a_ij = |x_i - x_j| and b_ij = |y_i - y_j|, and A, B these matrices with row, column and grand means
removed (double centring),

    dCov^2(x, y) = mean(A * B)        dCor^2 = dCov^2(x, y) / sqrt(dCov^2(x, x) dCov^2(y, y))

dCor is 1 where y is x moved, turned and scaled, and goes to 0 with n only where they are independent. On few
rows it is biased upwards, the more so in wide spaces; U-centring (Szekely and Rizzo 2014) removes the bias.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from earkit.runtime.errors import ConfigError

TINY = 1e-12
"""Below this a variance is none: what stands still correlates with nothing, and has no gradient."""
ROUNDING = 1e-5
"""Of two points' energy, the squared distance between them that may be rounding alone."""


@dataclass(frozen=True)
class DistanceCorrelationConfig:
    """Rows of a batch beyond `most` are subsampled, as cost grows with their square."""

    weight: float = 0.0
    on: Literal["frames", "vectors"] = "frames"
    most: int = 512
    unbiased: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ConfigError(f"distance_correlation.weight must be 0 or more, not {self.weight}")
        if self.on not in {"frames", "vectors"}:
            raise ConfigError(f"distance_correlation.on must be frames or vectors, not {self.on}")
        if self.most < 4:
            raise ConfigError(f"distance_correlation.most must be at least 4 rows, not {self.most}")


def distances(x: Tensor) -> Tensor:
    """Euclidean distance of every pair, in float32 whatever the precision of training. (n, dim) -> (n, n).

    Points nearer than float32 can tell coincide: distance and gradient are 0, where a root alone gives NaN.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float() - x.float().mean(0)
        energy = x.square().sum(1)
        squares = energy[:, None] + energy - 2 * x @ x.T
    apart = squares > ROUNDING * (energy[:, None] + energy)
    return torch.where(apart, squares, 1).sqrt() * apart


def double_centred(a: Tensor) -> Tensor:
    """Remove row and column means, and give back the grand mean. a: distances (n, n)."""
    return a - a.mean(0) - a.mean(1, keepdim=True) + a.mean()


def u_centred(a: Tensor) -> Tensor:
    """Double-centre so that the mean product of independent data is 0; the diagonal is 0. n at least 4."""
    n = len(a)
    centred = a - a.sum(0) / (n - 2) - a.sum(1, keepdim=True) / (n - 2) + a.sum() / ((n - 1) * (n - 2))
    return centred * (1 - torch.eye(n, device=a.device))


def distance_correlation(x: Tensor, y: Tensor, *, unbiased: bool = False) -> Tensor:
    """Return dCor, 0 to 1, of (n, d) and (n, D); `unbiased` gives the bias-corrected dCor^2, maybe below 0.

    The latter needs at least 4 rows. Where x or y stands still, both are 0.
    """
    centred = u_centred if unbiased else double_centred
    a, b = centred(distances(x)), centred(distances(y))
    covariance = (a * b).mean()
    variances = a.square().mean() * b.square().mean()
    squared = covariance / variances.clamp(min=TINY).sqrt()
    return squared if unbiased else squared.clamp(min=TINY).sqrt()


class DistanceCorrelation(nn.Module):
    """1 - dCor of (at most so many) rows; has nothing to learn."""

    def __init__(self, config: DistanceCorrelationConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Tensor, y: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the loss of (n, d) and (n, D). generator: on the CPU, draws rows; None is torch's own."""
        if len(x) > self.config.most:
            rows = torch.randperm(len(x), generator=generator)[: self.config.most].to(x.device)
            x, y = x[rows], y[rows]
        unbiased = self.config.unbiased and len(x) >= 4
        return 1 - distance_correlation(x, y, unbiased=unbiased)
