"""Which phone is said, frame by frame: a linear head every 20 ms of festvox-ru.

Learned from some frames of each training sentence, scored on all frames of the test's. One speaker, so that
it is sentences that are drawn anew for the interval: it says nothing of other speakers.
"""

from collections.abc import Sequence

import numpy as np

from earkit.benchmarks.bootstrap import mean_interval
from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks.logistic_head import choose, fit
from earkit.benchmarks.tasks.manifest_rows import audio
from earkit.benchmarks.tasks.phones import at_points, points, some_frames, splits
from earkit.benchmarks.tasks.task import Score, Task
from earkit.distill.data.manifests import Row

PER_SENTENCE = 24


def score(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Give the frame accuracy; nothing for a representation without frames."""
    if representation.frames is None:
        return []
    (split,) = splits(rows)
    rng = np.random.default_rng(seed)
    frames, phones, sentence = some_frames(representation, rows, split.train, PER_SENTENCE, rng)
    inner = tuple(
        (np.flatnonzero(np.isin(sentence, learn)), np.flatnonzero(np.isin(sentence, held)))
        for learn, held in split.inner
    )
    choice = choose(frames, phones, inner, balanced=False)
    head = fit(frames[choice.vector], phones, choice.regularisation, balanced=False)
    correct, sentences = [], []
    for i in split.test:
        samples = audio(rows[i])
        places, said = points(rows[i], len(samples))
        layer = representation.frames(samples)[choice.vector]
        correct.append(head.predict(at_points(representation, layer, places)) == said)
        sentences.append(np.full(len(said), str(i)))
    right = np.concatenate(correct).astype(np.float64)
    drawn = np.concatenate(sentences)
    return [
        Score(
            TASK.name,
            "frame accuracy",
            float(right.mean()),
            mean_interval(right, drawn, seed),
            "sentences",
            {split.name: str(choice)},
            {"frames": len(right), "trained frames": len(phones), "sentences": len(split.test)},
        )
    ]


TASK = Task(
    "phone_classification",
    "51 phone symbols, frame by frame, in Russian sentences",
    ("festvox-ru",),
    ("sha256",),
    list,
    splits,
    score,
)
