"""What does each loss of distillation bring? Each alone and each left out, over seeds.

    python -m earkit.benchmarks.distill_quality [--seeds 3] [--steps 300]

For each seed a `dinosr_nano` teacher is trained on the embedded corpus, then students of it: one with each
loss alone, the default mixture, and that without each of its losses. Phones and words are linear probes of
frozen frames on speakers never heard; word retrieval and speakers use the embedding, where a loss trained
one, and else the mean of the last frames. Every cell is stored when it is done; the next call goes on there.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.probes import Featurise
from earkit.benchmarks.results import Cells
from earkit.distill.distillation import distil_config
from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.student import StudentConfig

NAME = "distill_quality"
ALONE = {
    "hidden states only": [
        "losses.tinybert.weight=1",
        "losses.tinybert.attention=0",
        "losses.tinybert.embedding=0",
    ],
    "tinybert": ["losses.tinybert.weight=1", "losses.tinybert.attention=1", "losses.tinybert.embedding=1"],
    "relations": ["losses.relations.weight=1"],
    "codes": ["losses.codes.weight=1"],
    "masked": ["losses.masked.weight=1"],
    "distance_correlation": ["losses.distance_correlation.weight=1"],
    "stella": ["losses.stella.weight=0.1"],
    "contrast": ["losses.contrast.weight=0.1"],
}
"""Settings of each loss alone; all others are off. `hidden states only` is the plain baseline."""
EMBEDS = {"stella", "contrast"}


def off(*kept: str) -> list[str]:
    """Switch off all losses but some."""
    names = ("tinybert", "relations", "codes", "masked", "distance_correlation", "stella", "contrast", "csr")
    return [f"losses.{name}.weight=0" for name in names if name not in kept]


def variants() -> Iterator[tuple[str, list[str], bool]]:
    """Name, overrides, and whether there is a trained embedding."""
    yield "default", [], True
    yield "hidden states only", [*off(), *ALONE["hidden states only"]], False
    mixture = distil_config("general", teachers=["any"]).losses.on()
    for name in mixture:
        if name != "csr":  # reaches no weight of the student
            left = set(mixture) - {name}
            yield f"default without {name}", [f"losses.{name}.weight=0"], bool(EMBEDS & left)
    for name, settings in ALONE.items():
        if name != "hidden states only":
            yield f"{name} alone", [*off(), *settings], name in EMBEDS


def measure(
    folder: Path, seed: int, manifest: Path, name: str, overrides: list[str], *, embeds: bool
) -> dict[str, Any]:
    """Train one student and score it."""
    teacher = bench.teacher_run(folder, seed, manifest)
    begun = time.perf_counter()
    run = bench.student_run(
        folder, name.replace(" ", "_"), seed, manifest, teachers=[str(teacher)], overrides=overrides
    )
    minutes = (time.perf_counter() - begun) / 60
    return {"minutes": round(minutes, 2)} | student_scores(bench.load(run), manifest, seed, embeds=embeds)


def student_scores(model: DistilledStudent, manifest: Path, seed: int, *, embeds: bool) -> dict[str, float]:
    """Score frames, and the embedding, or where none was trained, the mean of the last frames."""
    if embeds:
        return bench.student_scores(model, manifest, seed)
    return frame_scores(bench.student_features(model), manifest, seed, f"block {model.config.depth}")


def frame_scores(featurise: Featurise, manifest: Path, seed: int, choice: str) -> dict[str, float]:
    """Score frames, and the mean of those of one layer as if it were an embedding."""
    frames = bench.probes(manifest, featurise, seed)
    return frames | bench.mean_scores(featurise, manifest, seed, choice)


def references(folder: Path, seed: int, manifest: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Score what students are compared with: the teacher, log-mel, and a student that has learned nothing."""
    teacher = bench.teacher_features(bench.teacher_run(folder, seed, manifest))
    yield "teacher", frame_scores(teacher, manifest, seed, "layer 3")
    yield "log-mel", frame_scores(bench.log_mel_features, manifest, seed, "80 bands")
    yield "random student", student_scores(untrained(seed, manifest), manifest, seed, embeds=False)


def untrained(seed: int, manifest: Path) -> DistilledStudent:
    """Give a `tiny` student as it is born, its log-mel statistics measured."""
    torch.manual_seed(seed)
    model = DistilledStudent(StudentConfig(size="tiny"), Outputs()).eval()
    words = bench.test_utterances(manifest)
    model.student.log_mel.fit([torch.from_numpy(np.asarray(each.samples)) for each in words[:40]])
    return model


def main() -> None:
    """Measure what is missing, and store each cell."""
    given = bench.options(__doc__, seeds=3).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny")
    for seed in range(given.seeds):
        if not cells.find(name="random student", seed=seed):
            for name, scores in references(given.runs, seed, manifest):
                if not cells.find(name=name, seed=seed):
                    cells.keep([{"name": name, "seed": seed, **scores}])
    for name, overrides, embeds in variants():
        for seed in range(given.seeds):
            if not cells.find(name=name, seed=seed):
                settings = [f"steps={given.steps}", *overrides]
                scores = measure(given.runs, seed, manifest, name, settings, embeds=embeds)
                cells.keep([{"name": name, "seed": seed, **scores}])


if __name__ == "__main__":
    main()
