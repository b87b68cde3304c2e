"""What is measured once, on some of the corpus, before distillation begins, and stays fixed.

The teacher's features differ in scale by orders of magnitude between sources and layers; each channel is
brought to zero mean and unit variance, so that the losses of several teachers can be weighed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from earkit.distill.trace import Targets

CLIPS = 48
"""Segments that are looked at, evenly over the corpus."""


class Standardiser(nn.Module):
    """Channel means and deviations of one teacher's hidden layers and vector; kept in checkpoints."""

    def __init__(self, layers: Sequence[int], dim: int, *, vector: bool) -> None:
        super().__init__()
        for name in [str(layer) for layer in layers] + ["vector"] * vector:
            self.register_buffer(f"mean_{name}", torch.zeros(dim))
            self.register_buffer(f"deviation_{name}", torch.ones(dim))

    @torch.no_grad()
    def fit(self, seen: Sequence[Targets]) -> None:
        """Measure."""
        for name, mean in self.named_buffers():
            kind, _, key = name.partition("_")
            if kind == "mean":
                rows = torch.cat([_rows(targets, key) for targets in seen])
                mean.copy_(rows.mean(0))
                self.get_buffer(f"deviation_{key}").copy_(deviation(rows))

    def forward(self, targets: Targets) -> Targets:
        """Standardise what has frames; padding stays zero."""
        valid = targets.valid[:, :, None]
        hidden = {k: self._standard(x, str(k)) * valid for k, x in targets.hidden.items()}
        vector = None if targets.vector is None else self._standard(targets.vector, "vector")
        return Targets(targets.valid, hidden, targets.attention, targets.codes, vector)

    def _standard(self, x: Tensor, key: str) -> Tensor:
        return (x - self.get_buffer(f"mean_{key}")) / self.get_buffer(f"deviation_{key}")


def deviation(rows: Tensor) -> Tensor:
    """Measure that of each channel of (n, dim); one that hardly varies is not to be blown up."""
    return rows.std(0, correction=0).clamp(min=1e-3 * float(rows.std()))


def _rows(targets: Targets, key: str) -> Tensor:
    if key == "vector":
        assert targets.vector is not None
        return targets.vector.float()
    return targets.hidden[int(key)][targets.valid].float()
