"""The most multiply-adds a second that this machine does in float32: a large product of matrices."""

from time import perf_counter

import numpy as np
import torch
from threadpoolctl import threadpool_limits

SIDE = 2048
ROUNDS = 5


def matrix_peak(threads: int) -> float:
    """Multiply-adds a second, the best of some rounds of NumPy's and of torch's product."""
    factor = np.ones((SIDE, SIDE), np.float32)
    tensor = torch.from_numpy(factor)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    taken = []
    with threadpool_limits(threads):
        for _ in range(ROUNDS):
            for multiply in (lambda: factor @ factor, lambda: tensor @ tensor):
                begun = perf_counter()
                multiply()
                taken.append(perf_counter() - begun)
    torch.set_num_threads(before)
    return SIDE**3 / min(taken)
