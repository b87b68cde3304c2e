"""Logistic regression by L-BFGS, for a classifier on features that stay as they are."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

STEPS = 100


def fit(classifier: nn.Linear, error: Callable[[], Tensor], penalty: float) -> None:
    """Minimise error() + penalty / 2 |W|^2, from weights of 0.

    error: the mean cross entropy of the classifier as it is.
    """
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    optimizer = torch.optim.LBFGS(classifier.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        found = error() + penalty / 2 * classifier.weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return float(found.detach())

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    optimizer.zero_grad()
