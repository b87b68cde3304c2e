"""One student at several depths: the embedding of every prefix, with and without `--elastic`.

python -m earkit.benchmarks.elastic_quality [--seeds 1] [--steps 300]
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import load_rows, store
from earkit.benchmarks.retrieval import retrieval
from earkit.distill.distil_dry_run import multiply_adds
from earkit.distill.distilled import DistilledStudent
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.cache import cache_folder

NAME = "elastic_quality"
COMMAND = "python -m earkit.benchmarks.elastic_quality"
DEPTHS = (2, 4, 6, 8)


def scores(model: DistilledStudent, manifest: Path) -> dict[int, float]:
    """Word retrieval with the first blocks alone."""
    spoken = bench.test_words(manifest)
    labels, speakers = (np.array([getattr(word, name) for word in spoken]) for name in ("word", "speaker"))
    clips = [word.samples for word in spoken]
    return {
        depth: round(retrieval(bench.embeddings(model, clips, depth), labels, speakers).first, 4)
        for depth in DEPTHS
    }


def main() -> None:
    """Measure every seed that is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    arguments = parser.parse_args()
    manifest = default_corpus()
    settings = {"steps": arguments.steps, "student": "tiny"}
    rows = load_rows(NAME, settings)
    second = torch.zeros(1, SAMPLE_RATE)
    for seed in range(arguments.seeds):
        teacher = str(bench.teacher_run(arguments.runs, seed, manifest))
        for name, overrides in {"default": [], "elastic": ["elastic=true"]}.items():
            if (name, seed) in {(row["name"], row["seed"]) for row in rows}:
                continue
            given = [f"steps={arguments.steps}", *overrides]
            run = bench.student_run(arguments.runs, name, seed, manifest, teachers=[teacher], overrides=given)
            model = bench.load(run)
            for depth, first in scores(model, manifest).items():
                cost = round(multiply_adds(model.student, second, depth))
                rows.append(
                    {"name": name, "seed": seed, "depth": depth, "word_1nn": first, "multiply_adds": cost}
                )
                print(rows[-1], flush=True)
            store(NAME, COMMAND, rows, **settings)


if __name__ == "__main__":
    main()
