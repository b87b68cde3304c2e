"""RankMe: how many dimensions a set of features really uses, without labels (Garrido et al. 2023, eq. 1)."""

import torch
from torch import Tensor


def rankme(features: Tensor, most: int = 2048) -> float:
    """Exponential of the entropy of the normalised singular values. features: (frames, dim)."""
    values = torch.linalg.svdvals(features[:most].float())
    share = values / values.sum() + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))
