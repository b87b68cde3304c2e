"""Principal axes: an embedding turned so that its front holds as much of it as any front can.

A turn changes no cosine of whole embeddings. Of prefixes it does: nested losses press what matters into the
front, but only up to the next trained width, and within it leave every axis as it happens to lie. Turned to
the axes along which embeddings vary most, strongest first, a prefix of 32 found as many words as the whole.
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from earkit.distill.distilled import DistilledStudent

RATE = 0.02


class SecondMoment(nn.Module):
    """Running mean of e e^T over embeddings e of length one."""

    moment: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("moment", torch.eye(dim) / dim)

    @torch.no_grad()
    def follow(self, made: Tensor) -> None:
        """Move towards the moment of what was just made. made: (n, dim)."""
        unit = F.normalize(made.float(), dim=1)
        moment = unit.T @ unit / len(unit)
        if dist.is_initialized():
            dist.all_reduce(moment)
            moment /= dist.get_world_size()
        self.moment.lerp_(moment, RATE)


def axes(moment: Tensor) -> Tensor:
    """Eigenvectors of a second moment as rows, strongest first, their largest component above 0."""
    rows = torch.linalg.eigh(moment.double().cpu())[1].flip(1).T
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return (rows * largest.sign()).float()


@torch.no_grad()
def turn(model: DistilledStudent, to: Tensor) -> None:
    """Make `to @ embedding` the embedding of a student, and let its heads undo that. to: orthogonal rows."""
    pooling, csr = model.student.pooling, model.sparse
    project = pooling.project
    for vector in (project.bias, pooling.centre):
        vector.copy_(to @ vector)
    project.weight.copy_(to @ project.weight)
    if csr is not None:
        csr.centre.copy_(to @ csr.centre)
        for weight in (csr.encoder.weight, csr.decoder):
            weight.copy_(weight @ to.T)
    if model.classifier is not None:
        model.classifier.weight.copy_(model.classifier.weight @ to.T)
