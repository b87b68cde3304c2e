"""Linear probes of frozen frame features on the embedded corpus: phones and words.

Test speakers are never trained on. A tenth of the training speakers chooses the regularisation, and the
layer where there is a choice; nothing is chosen on the test speakers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from earkit.distill.speech.synthetic_corpus import LabelledClip, read_labels
from earkit.runtime.audio import read

Array = NDArray[np.float32]
Labels = NDArray[np.str_]
Featurise = Callable[[Array], Mapping[str, Array]]
"""samples -> frames (time, dim) of each layer, every 20 ms, the first centred at 12.5 ms."""

FRAME = 320
HALF_WINDOW = 200
REGULARISATION = (0.001, 0.01)


@dataclass(frozen=True)
class Examples:
    """Features of one choice with their labels and speakers."""

    features: Array
    labels: Labels
    speakers: Labels


@dataclass(frozen=True)
class Score:
    """Accuracy on unseen speakers, and what the development speakers chose."""

    accuracy: float
    choice: str
    regularisation: float


def probe(
    manifest: Path, featurise: Featurise, *, seed: int, frames: int = 12_000, clips: int = 400
) -> dict[str, Score]:
    """Score one representation: keys `phones` (single frames) and `words` (means over a word's frames)."""
    rng = np.random.default_rng(seed)
    everything = read_labels(manifest)
    sets = {}
    for split in ("train", "test"):
        chosen = [clip for clip in everything if clip.split == split]
        order = rng.permutation(len(chosen))[:clips]
        sets[split] = _examples([chosen[i] for i in order], featurise)
    scores = {}
    for task in ("phones", "words"):
        train = {c: _thin(e, frames, rng) for c, e in sets["train"][task].items()}
        test = {c: _thin(e, frames, rng) for c, e in sets["test"][task].items()}
        scores[task] = _best(train, test, seed)
    return scores


def _examples(clips: Sequence[LabelledClip], featurise: Featurise) -> dict[str, dict[str, Examples]]:
    rows: dict[str, dict[str, list[tuple[Array, str, str]]]] = {"phones": {}, "words": {}}
    for clip in clips:
        for choice, frames in featurise(read(clip.path).samples).items():
            centres = np.arange(len(frames)) * FRAME + HALF_WINDOW
            for span in clip.phones:
                rows["phones"].setdefault(choice, []).extend(
                    (frame, span.label, clip.speaker)
                    for frame in frames[(centres >= span.start) & (centres < span.end)]
                )
            for span in clip.words:
                inside = frames[(centres >= span.start) & (centres < span.end)]
                if len(inside):
                    rows["words"].setdefault(choice, []).append((inside.mean(0), span.label, clip.speaker))
    return {
        task: {
            choice: Examples(
                np.stack([r[0] for r in made]), np.array([r[1] for r in made]), np.array([r[2] for r in made])
            )
            for choice, made in choices.items()
        }
        for task, choices in rows.items()
    }


def _thin(examples: Examples, most: int, rng: np.random.Generator) -> Examples:
    """Pick so many examples at random."""
    picked = rng.permutation(len(examples.labels))[:most]
    return Examples(examples.features[picked], examples.labels[picked], examples.speakers[picked])


def _fit(features: Array, labels: Labels, regularisation: float) -> Pipeline:
    logistic = LogisticRegression(C=regularisation, max_iter=500)
    return make_pipeline(StandardScaler(), logistic).fit(features, labels)


def _best(train: Mapping[str, Examples], test: Mapping[str, Examples], seed: int) -> Score:
    """Choose the layer, then the regularisation, on held-out training speakers; score on the test ones."""
    speakers = np.unique(next(iter(train.values())).speakers)
    held = np.random.default_rng(seed).permutation(speakers)[: max(1, len(speakers) // 10)]

    def develop(choice: str, regularisation: float) -> float:
        examples = train[choice]
        unseen = np.isin(examples.speakers, held)
        fitted = _fit(examples.features[~unseen], examples.labels[~unseen], regularisation)
        return float(fitted.score(examples.features[unseen], examples.labels[unseen]))

    strongest = REGULARISATION[0]
    choice = max(train, key=lambda c: develop(c, strongest)) if len(train) > 1 else next(iter(train))
    regularisation = max(REGULARISATION, key=lambda c: develop(choice, c))
    fitted = _fit(train[choice].features, train[choice].labels, regularisation)
    accuracy = float(fitted.score(test[choice].features, test[choice].labels))
    return Score(accuracy, choice, regularisation)
