"""What does each loss of distillation bring? Each alone and each left out, over seeds.

    python -m earkit.benchmarks.distill_quality [--seeds 3] [--steps 300]

For each seed a `dinosr_nano` teacher is trained on the embedded corpus, then students of it: one with each
loss alone, the default mixture, and that without each of its losses. Phones and words are linear probes of
frozen frames on speakers never heard; word retrieval and speakers use the embedding, where a loss trained
one, and else the mean of the last frames. Every cell is stored when it is done; the next call goes on there.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import load_rows, store
from earkit.distill.distillation import distil_config
from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.student import StudentConfig
from earkit.runtime.cache import cache_folder

NAME = "distill_quality"
COMMAND = "python -m earkit.benchmarks.distill_quality"
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
    features = bench.student_features(model)
    if embeds:
        found = bench.student_embedding_scores(model, manifest, seed)
    else:
        found = bench.mean_scores(features, manifest, seed, f"block {model.config.depth}")
    return bench.probes(manifest, features, seed) | found


def references(folder: Path, seed: int, manifest: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Score what students are compared with: the teacher, log-mel, and a student that has learned nothing."""
    teacher = bench.teacher_features(bench.teacher_run(folder, seed, manifest))
    yield (
        "teacher",
        bench.probes(manifest, teacher, seed) | bench.mean_scores(teacher, manifest, seed, "layer 3"),
    )
    floor = bench.log_mel_features
    yield (
        "log-mel",
        bench.probes(manifest, floor, seed) | bench.mean_scores(floor, manifest, seed, "80 bands"),
    )
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    arguments = parser.parse_args()
    manifest = default_corpus()
    settings = {"steps": arguments.steps, "student": "tiny"}
    rows = load_rows(NAME, settings)
    done = {(row["name"], row["seed"]) for row in rows}

    def keep(name: str, seed: int, scores: dict[str, Any]) -> None:
        rows.append({"name": name, "seed": seed, **scores})
        print(rows[-1], flush=True)
        store(NAME, COMMAND, rows, **settings)

    for seed in range(arguments.seeds):
        if ("random student", seed) not in done:
            for name, scores in references(arguments.runs, seed, manifest):
                if (name, seed) not in done:
                    keep(name, seed, scores)
    for name, overrides, embeds in variants():
        for seed in range(arguments.seeds):
            if (name, seed) not in done:
                given = [f"steps={arguments.steps}", *overrides]
                keep(name, seed, measure(arguments.runs, seed, manifest, name, given, embeds=embeds))


if __name__ == "__main__":
    main()
