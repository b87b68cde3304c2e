"""Audio seconds per second of distillation, live and from the cache, and where the time of a step goes.

    python -m earkit.benchmarks.distill_throughput

Runs the real loop on the embedded corpus with the default recipe and a `dinosr_nano` teacher, and one of
`dinosr_base`'s size with random weights, checkpoints and metrics included.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import store
from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.distill.dinosr import DinoSR, save_teacher
from earkit.distill.distillation import DistilReport, distil, distil_config
from earkit.distill.pretrain import load_config
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.cache import cache_folder

NAME = "distill_throughput"
COMMAND = "python -m earkit.benchmarks.distill_throughput"
CLIPS = 100
"""Of the corpus: the cache of so many is filled, and timed."""


def measure(teacher: str, steps: int, corpus: Corpus, *, cache: bool) -> dict[str, Any]:
    """Distil some steps and describe them, the first left out."""
    overrides = [f"steps={steps}", "log_every=1", "probe_every=0", f"save_every={steps // 2}"]
    config = distil_config(
        "general",
        teachers=[teacher],
        student="tiny",
        overrides=[*overrides, f"cache={str(cache).lower()}"],
    )
    reports: list[DistilReport] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        distil(config, corpus, Path(folder) / "run", report=reports.append, say=bench.quiet)
    whole = time.perf_counter() - begun
    audio = [b.audio_seconds - a.audio_seconds for a, b in itertools.pairwise(reports)]
    phases = {key: sum(r.phases.get(key, 0.0) for r in reports[1:]) for key in reports[-1].phases}
    total = sum(phases.values())
    return {
        "features": "cached" if cache else "live",
        "audio_seconds_per_step": round(statistics.median(audio), 2),
        "audio_seconds_per_second": round(sum(audio) / total, 2),
        "share_of_teacher": round(phases["teacher"] / total, 4),
        "shares": {key: round(seconds / total, 4) for key, seconds in phases.items()},
        "seconds_before_the_first_step": round(whole - reports[-1].elapsed, 2),
    }


def main() -> None:
    """Measure both teachers, live and from the cache, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    arguments = parser.parse_args()
    manifest = default_corpus()
    everything = open_corpus(manifest, split="train")
    corpus = Corpus(everything.clips[:CLIPS], (), everything.source)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "base"
        torch.manual_seed(0)
        save_teacher(DinoSR(load_config("dinosr_base").model), big)
        teachers = {
            "dinosr_nano": (str(bench.teacher_run(arguments.runs, 0, manifest)), 40),
            "dinosr_base": (str(big), 10),
        }
        for name, (place, steps) in teachers.items():
            for cache in (False, True):
                rows.append({"teacher": name, **measure(place, steps, corpus, cache=cache)})
                print(rows[-1], flush=True)
    print(store(NAME, COMMAND, rows, student="tiny", clips=CLIPS))


if __name__ == "__main__":
    main()
