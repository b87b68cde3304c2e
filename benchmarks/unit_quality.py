"""How well units agree with phones, frame by frame (Hsu et al. 2021, HuBERT, section V.B).

All read the joint counts of phones and units; a frame has one of each. Many units make phone purity high and
cluster purity low, so only inventories of the same size compare by one of them.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""(phones, units): how many frames have this phone and this unit."""


def joint_counts(phones: NDArray[np.int64], units: NDArray[np.int64], inventory: tuple[int, int]) -> Counts:
    """Count frames. phones, units: (frames,), numbers below those of the inventory."""
    counts: Counts = np.zeros(inventory, np.int64)
    np.add.at(counts, (phones, units), 1)
    return counts


def phone_purity(counts: Counts) -> float:
    """Accuracy when each unit stands for the phone that it most often is: sum over z of max_y p(y, z)."""
    return float(counts.max(axis=0).sum() / counts.sum())


def cluster_purity(counts: Counts) -> float:
    """Accuracy when each phone stands for the unit that it most often has: sum over y of max_z p(y, z)."""
    return float(counts.max(axis=1).sum() / counts.sum())


def pnmi(counts: Counts) -> float:
    """Share of the phones' entropy that the units take away: I(y; z) / H(y)."""
    joint = counts / counts.sum()
    phone, unit = joint.sum(axis=1), joint.sum(axis=0)
    entropy = -_x_log_x(phone)
    return float((_x_log_x(joint) - _x_log_x(unit) + entropy) / entropy) if entropy else 0.0


def perplexity(counts: Counts) -> float:
    """Give how many units are in use, as if all of these were equally frequent: exp H(z)."""
    unit = counts.sum(axis=0) / counts.sum()
    return float(np.exp(-_x_log_x(unit)))


def _x_log_x(share: NDArray[np.float64]) -> float:
    seen = share[share > 0]
    return float((seen * np.log(seen)).sum())
