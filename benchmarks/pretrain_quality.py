"""Does a few minutes of DinoSR training learn anything? Linear probes, over seeds.

    python -m earkit.benchmarks.pretrain_quality [--seeds 3]

Trains `dinosr_nano` on the embedded corpus as `kit pretrain --config dinosr_nano` does, and compares its
frozen features with those of the same network untrained and with log-mel, on speakers never heard.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earkit.benchmarks.log_mel import log_mel
from earkit.benchmarks.probes import Featurise, probe
from earkit.benchmarks.results import store
from earkit.distill.data.corpus import open_corpus
from earkit.distill.dinosr import DinoSR, encode, load_teacher, standardise
from earkit.distill.pretrain import StepReport, load_config, pretrain
from earkit.distill.speech.synthetic_corpus import default_corpus

Array = NDArray[np.float32]
TASKS = ("phones", "words")


def dinosr_features(model: DinoSR) -> Featurise:
    """Every layer of the student; the development speakers choose one."""
    model.eval()

    def featurise(samples: Array) -> Mapping[str, Array]:
        with torch.inference_mode():
            trace = encode(
                model.student.encoder, model.front_end(standardise(torch.from_numpy(samples)[None]))
            )
        return {f"layer {i + 1}": layer[0].numpy() for i, layer in enumerate(trace.layers)}

    return featurise


def rivals(trained: DinoSR, seed: int) -> dict[str, Featurise]:
    """Give what is compared: log-mel, the same network as it was born, and as it was trained."""
    torch.manual_seed(seed)
    return {
        "log-mel": lambda samples: {"80 bands": log_mel(samples)},
        "untrained": dinosr_features(DinoSR(trained.config)),
        "trained": dinosr_features(trained),
    }


def compare(config_name: str, seed: int, manifest: Path, overrides: list[str]) -> dict[str, Any]:
    """Train one model and probe it beside its rivals."""
    config = load_config(config_name, [*overrides, f"seed={seed}"])
    reports: list[StepReport] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        corpus = open_corpus(manifest, split="train")
        teacher = pretrain(config, corpus, Path(folder) / "run", report=reports.append, say=lambda _: None)
        trained = load_teacher(teacher)
    minutes = (time.perf_counter() - begun) / 60
    row: dict[str, Any] = {
        "seed": seed,
        "minutes": round(minutes, 2),
        "steps": reports[-1].step,
        "audio_hours": round(reports[-1].audio_seconds / 3600, 3),
        "active_codes": reports[-1].active_codes,
        "codebook_size": config.model.codebook_size,
        "rankme": reports[-1].rankme,
    }
    for name, featurise in rivals(trained, seed).items():
        for task, score in probe(manifest, featurise, seed=seed).items():
            row[f"{name}/{task}"] = round(score.accuracy, 4)
            row[f"{name}/{task}/choice"] = score.choice
    return row


def margins(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Smallest and mean advantage of the trained network, in points of accuracy."""
    found = {}
    for task in TASKS:
        for rival in ("untrained", "log-mel"):
            gaps = [100 * (row[f"trained/{task}"] - row[f"{rival}/{task}"]) for row in rows]
            found[f"{task} over {rival}, mean"] = round(statistics.mean(gaps), 2)
            found[f"{task} over {rival}, least"] = round(min(gaps), 2)
    return found


def main() -> None:
    """Compare over seeds and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--config", default="dinosr_nano")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    manifest = default_corpus()
    rows = []
    for seed in range(arguments.seeds):
        rows.append(compare(arguments.config, seed, manifest, arguments.set))
        print(rows[-1])
    gained = margins(rows)
    print(gained)
    command = "python -m earkit.benchmarks.pretrain_quality"
    print(
        store("pretrain_quality", command, rows, config=arguments.config, set=arguments.set, margins=gained)
    )


if __name__ == "__main__":
    main()
