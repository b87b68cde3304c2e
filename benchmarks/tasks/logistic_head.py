"""A logistic head on frozen vectors, and the choice of its hyper-parameters on held-out parts of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from earkit.benchmarks.tasks.task import best

Array = NDArray[np.float32]
Labels = NDArray[np.str_]
Indices = NDArray[np.int64]

REGULARISATION = (0.001, 0.01, 0.1, 1.0, 10.0)
MIDDLE = 0.01  # by which choices of a vector are compared


@dataclass(frozen=True)
class Choice:
    """Which vector, and how strong a head: `regularisation` is scikit-learn's C."""

    vector: str
    regularisation: float

    def __str__(self) -> str:
        return f"{self.vector}, C {self.regularisation:g}"


def fit(vectors: Array, labels: Labels, regularisation: float, *, balanced: bool) -> Pipeline:
    """Standardise, then fit. vectors: (n, dim); balanced: every class weighs the same."""
    weight = "balanced" if balanced else None
    logistic = LogisticRegression(C=regularisation, max_iter=500, class_weight=weight)
    return make_pipeline(StandardScaler(), logistic).fit(vectors, labels)


def accuracy(right: NDArray[np.bool_], labels: Labels, *, balanced: bool) -> float:
    """Share of what is right; if balanced, the mean over classes of the share within each. Both (n,)."""
    if not balanced:
        return float(right.mean())
    return float(np.mean([right[labels == name].mean() for name in np.unique(labels)]))


def choose(
    vectors: Mapping[str, Array],
    labels: Labels,
    inner: Sequence[tuple[Indices, Indices]],
    *,
    balanced: bool,
) -> Choice:
    """Choose the vector, then the regularisation, by mean accuracy on what was held out.

    What is held out of a class that was not learned from does not count.
    """

    def develop(choice: str, regularisation: float) -> float:
        reached = []
        for learn, held in inner:
            known = held[np.isin(labels[held], labels[learn])]
            if len(known):
                head = fit(vectors[choice][learn], labels[learn], regularisation, balanced=balanced)
                right = head.predict(vectors[choice][known]) == labels[known]
                reached.append(accuracy(right, labels[known], balanced=balanced))
        return float(np.mean(reached))

    choice = best(list(vectors), lambda name: develop(name, MIDDLE))
    return Choice(choice, max(REGULARISATION, key=lambda c: develop(choice, c)))
