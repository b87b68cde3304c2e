"""Tasks in which a logistic head tells the class of a clip; what differs between them is data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from earkit.benchmarks.bootstrap import mean_interval
from earkit.benchmarks.clip_vectors import clip_vectors
from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks.logistic_head import accuracy, choose, fit
from earkit.benchmarks.tasks.manifest_rows import audio
from earkit.benchmarks.tasks.task import Score, Split
from earkit.distill.data.manifests import Row
from earkit.runtime.audio import Samples


@dataclass(frozen=True)
class Classification:
    """Gives the `score` of a task. label: what is to be told; source: of whom or what a clip is.

    resampled: what sources are, in words. balanced: every class weighs the same, however many clips it has.
    """

    task: str
    splits: Callable[[Sequence[Row]], list[Split]]
    label: Callable[[Row], str]
    source: Callable[[Row], str]
    resampled: str
    balanced: bool = False
    prepare: Callable[[Samples], Samples] = lambda samples: samples

    def __call__(self, representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
        """Score a representation on all splits together."""
        vectors = clip_vectors(representation, (self.prepare(audio(row)) for row in rows))
        labels = np.array([self.label(row) for row in rows])
        sources = np.array([self.source(row) for row in rows])
        tested, correct, chosen = [], [], {}
        for split in self.splits(rows):
            choice = choose(vectors, labels, split.inner, balanced=self.balanced)
            learned = vectors[choice.vector][split.train], labels[split.train]
            head = fit(*learned, choice.regularisation, balanced=self.balanced)
            tested.append(split.test)
            correct.append(head.predict(vectors[choice.vector][split.test]) == labels[split.test])
            chosen[split.name] = str(choice)
        at, right = np.concatenate(tested), np.concatenate(correct)
        classes = labels[at] if self.balanced else None
        score = Score(
            self.task,
            "balanced accuracy" if self.balanced else "accuracy",
            accuracy(right, labels[at], balanced=self.balanced),
            mean_interval(right.astype(np.float64), sources[at], seed, classes=classes),
            self.resampled,
            chosen,
            {"clips": len(at), "classes": len(set(labels[at])), self.resampled: len(set(sources[at]))},
        )
        return [score]
