"""Audio seconds per second of DinoSR training, and where the time of a step goes.

    python -m earkit.benchmarks.pretrain_throughput

Runs the real loop on the embedded corpus, checkpoints and metrics included, and takes medians over steps.
"""

import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

from earkit.benchmarks.results import store
from earkit.distill.data.corpus import open_corpus
from earkit.distill.pretrain import StepReport, load_config, pretrain
from earkit.distill.speech.synthetic_corpus import default_corpus

# dinosr_base's own 237 s per step would need 60 GB of activations: 20 s is what two cores take.
RUNS = {
    "dinosr_base": ["steps=6", "data.batch_seconds=20", "data.workers=1", "save_every=1000", "log_every=1"],
    "dinosr_nano": ["steps=60", "save_every=30", "log_every=1"],
}
LEARNING = ("forward", "backward", "optimizer")


def measure(name: str, overrides: list[str]) -> dict[str, Any]:
    """Train some steps and describe the median one (the first is a warm-up)."""
    config = load_config(name, overrides)
    corpus = open_corpus(default_corpus(), split="train")
    reports: list[StepReport] = []
    with tempfile.TemporaryDirectory() as folder:
        pretrain(config, corpus, Path(folder) / "run", report=reports.append, say=lambda _: None)
    audio = [b.audio_seconds - a.audio_seconds for a, b in itertools.pairwise(reports)]
    phases = {key: [r.phases.get(key, 0.0) for r in reports[1:]] for key in sorted(reports[-1].phases)}
    # Saving happens in few steps, so its share is of the total; medians would hide it.
    total = sum(map(sum, phases.values()))
    return {
        "config": name,
        "steps": len(audio),
        "audio_seconds_per_step": round(statistics.median(audio), 2),
        "audio_seconds_per_second": round(sum(audio) / total, 2),
        "step_seconds": round(total / len(audio), 4),
        "shares": {key: round(sum(values) / total, 4) for key, values in phases.items()},
        "share_outside_learning": round(
            sum(sum(values) for key, values in phases.items() if key not in LEARNING) / total, 4
        ),
    }


def main() -> None:
    """Measure both sizes and store the result."""
    rows = [measure(name, overrides) for name, overrides in RUNS.items()]
    for row in rows:
        print(row)
    print(store("pretrain_throughput", "python -m earkit.benchmarks.pretrain_throughput", rows, runs=RUNS))


if __name__ == "__main__":
    main()
