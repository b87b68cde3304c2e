"""Matryoshka embeddings: each prefix of trained width is an embedding of its own (Kusupati et al. 2022).

A prefix is cut first and normalised then. The other way round its length would vary from clip to clip, and
dot products would no longer be cosines.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class MatryoshkaConfig:
    """Widths to train, narrow to wide, and the weight of each; no weights are ones.

    Not a loss but a wrapper around one: it is off where the full width is the only one in `dims`.
    """

    dims: tuple[int, ...] = (32, 64, 128, 256)
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.dims or self.dims[0] < 1 or sorted(set(self.dims)) != list(self.dims):
            raise ConfigError(f"matryoshka.dims must be rising widths such as 32, 64, not {list(self.dims)}")
        if self.weights and len(self.weights) != len(self.dims):
            raise ConfigError(
                f"matryoshka.weights must be {len(self.dims)}, one for each of dims, not {list(self.weights)}"
            )
        if not all(0 <= weight < math.inf for weight in self.weights) or (
            self.weights and not any(self.weights)
        ):
            raise ConfigError(
                f"matryoshka.weights must be 0 or more, one of them above 0, not {list(self.weights)}"
            )


def truncate(embedding: Tensor, dim: int, trained_dims: Sequence[int]) -> Tensor:
    """Cut to the first `dim` of a trained width, then normalise. (..., full width) -> (..., dim)."""
    if dim not in trained_dims or dim > embedding.shape[-1]:
        trained = ", ".join(str(width) for width in trained_dims if width <= embedding.shape[-1])
        raise ConfigError(f"dim {dim} is not one that this embedding was trained for: take one of {trained}")
    return F.normalize(embedding[..., :dim], dim=-1)


def matryoshka(
    embedding: Tensor, dims: Sequence[int], weights: Sequence[float], loss: Callable[[Tensor], Tensor]
) -> Tensor:
    """Sum of `loss` over all prefixes, eq. 1. embedding: (n, full width); no weights are ones, as there."""
    weights = weights or [1.0] * len(dims)
    losses = [w * loss(truncate(embedding, dim, dims)) for dim, w in zip(dims, weights, strict=True) if w]
    return sum(losses[1:], losses[0])
