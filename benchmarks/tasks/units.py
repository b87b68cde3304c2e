"""Discrete units of festvox-ru against its phones, and how still they hold when the sound is disturbed.

A model that hands out tokens is judged by them; frames of others become units by k-means. Sentences are drawn
anew for the intervals: there is one speaker.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.bootstrap import statistic_interval
from earkit.benchmarks.representations import Array, Representation, Tokens
from earkit.benchmarks.tasks.kmeans_units import Units, kmeans_units
from earkit.benchmarks.tasks.manifest_rows import audio
from earkit.benchmarks.tasks.phones import at_points, points, spans, splits
from earkit.benchmarks.tasks.task import Score, Task
from earkit.benchmarks.time_stretch import pitch_shift, time_stretch
from earkit.benchmarks.unit_quality import cluster_purity, joint_counts, perplexity, phone_purity, pnmi
from earkit.distill.data.augment import AugmentConfig, augment
from earkit.distill.data.manifests import Row
from earkit.distill.unit_edit_distance import collapsed, edit_distance

DISTURBED_SENTENCES = 40

NOISE = AugmentConfig(noise=1.0, noise_snr=(10.0, 10.0))
ROOM = AugmentConfig(room=1.0, room_t60=(0.4, 0.4))
DISTURBANCES: Mapping[str, Callable[[Array, int], Array]] = {
    "noise at 10 dB": lambda samples, seed: augment(samples, np.random.default_rng(seed), NOISE),
    "room of 0.4 s": lambda samples, seed: augment(samples, np.random.default_rng(seed), ROOM),
    "2 semitones higher": lambda samples, _: pitch_shift(samples, 2.0),
    "2 semitones lower": lambda samples, _: pitch_shift(samples, -2.0),
    "1.2 times as long": lambda samples, _: time_stretch(samples, 1.2),
    "0.8 times as long": lambda samples, _: time_stretch(samples, 0.8),
}
"""samples and a seed -> samples."""
FIGURES = {
    "phone purity": phone_purity,
    "cluster purity": cluster_purity,
    "PNMI": pnmi,
    "perplexity": perplexity,
}


def score(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Give the figures of agreement, then the unit edit distance under each disturbance."""
    if representation.tokens is not None:
        name, units = "tokens", representation.tokens
    elif representation.frames is not None:
        name, units = kmeans_units(representation, rows, seed)
    else:
        return []
    (split,) = splits(rows)
    tested = [rows[i] for i in split.test]
    clips = [audio(row) for row in tested]
    clean = [units(samples) for samples in clips]
    chosen = {split.name: name}
    return [
        *_agreement(_counts(representation, tested, clips, clean), chosen, seed),
        *_stability(units, clips[:DISTURBED_SENTENCES], clean[:DISTURBED_SENTENCES], chosen, seed),
    ]


def _counts(
    representation: Representation, rows: Sequence[Row], clips: Sequence[Array], clean: Sequence[Tokens]
) -> NDArray[np.int64]:
    """Count each sentence by itself. -> (sentences, phones, units)."""
    phones = sorted({span.label for row in rows for span in spans(row)})
    inventory = len(phones), 1 + max(int(found.max()) for found in clean)
    counts = []
    for row, samples, found in zip(rows, clips, clean, strict=True):
        places, said = points(row, len(samples))
        units = at_points(representation, found, places)
        counts.append(joint_counts(np.searchsorted(phones, said), units, inventory))
    return np.stack(counts)


def _agreement(counts: NDArray[np.int64], chosen: Mapping[str, str], seed: int) -> list[Score]:
    seen = {
        "sentences": len(counts),
        "frames": int(counts.sum()),
        "units": int(counts.any(axis=(0, 1)).sum()),
    }
    made = []
    for metric, figure in FIGURES.items():

        def drawn(times: NDArray[np.int64], figure: Callable[..., float] = figure) -> float:
            return figure(np.tensordot(times, counts, 1))

        interval = statistic_interval(drawn, len(counts), seed)
        made.append(Score(TASK.name, metric, figure(counts.sum(axis=0)), interval, "sentences", chosen, seen))
    return made


def _stability(
    units: Units, clips: Sequence[Array], clean: Sequence[Tokens], chosen: Mapping[str, str], seed: int
) -> list[Score]:
    made = []
    before = [collapsed(found) for found in clean]
    lengths = np.array([len(found) for found in before])
    for kind, disturb in DISTURBANCES.items():
        after = [collapsed(units(disturb(samples, i))) for i, samples in enumerate(clips)]
        edits = np.array([edit_distance(a, b) for a, b in zip(before, after, strict=True)])

        def drawn(times: NDArray[np.int64], edits: NDArray[np.int64] = edits) -> float:
            return float(times @ edits / (times @ lengths))

        made.append(
            Score(
                TASK.name,
                f"unit edit distance, {kind}",
                drawn(np.ones(len(clips), np.int64)),
                statistic_interval(drawn, len(clips), seed),
                "sentences",
                chosen,
                {"sentences": len(clips), "units": int(lengths.sum())},
            )
        )
    return made


TASK = Task(
    "units",
    "discrete units against Russian phones, and under noise, echo, pitch and tempo",
    ("festvox-ru",),
    ("sha256",),
    list,
    splits,
    score,
)
