"""Two-crop contrast: a clip's two augmented views find each other in the batch (NT-Xent, Chen et al. 2020).

With the 2n views of n clips, u and u' two of one clip, and cos the cosine,

    loss = mean over u of -log( exp(cos(u, u') / T) / sum over v of exp(cos(u, v) / T) ),  v not u
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class ContrastConfig:
    """A low temperature looks at the hardest negatives only."""

    weight: float = 0.0
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ConfigError(f"contrast.weight must be 0 or more, not {self.weight}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"contrast.temperature must be above 0, not {self.temperature}")


def contrast(one: Tensor, other: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Return NT-Xent of two views, each (n, dim), row i of both from the same stretch of audio.

    same: (n, n), true for rows that are no negatives of each other in any view, such as spans that overlap.
    """
    n = len(one)
    alike = torch.eye(n, dtype=torch.bool, device=one.device)
    if same is not None:
        alike = alike | same
    with torch.autocast(one.device.type, enabled=False):
        views = F.normalize(torch.cat([one, other]).float(), dim=1)
        logits = views @ views.T / temperature  # (2n, 2n)
    partner = torch.arange(2 * n, device=one.device).roll(n)
    ignored = alike.repeat(2, 2).scatter(1, partner[:, None], value=False)
    return F.cross_entropy(logits.masked_fill(ignored, -torch.inf), partner)
