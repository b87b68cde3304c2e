"""One student at several depths: the embedding of every prefix, with and without `--elastic`.

python -m earkit.benchmarks.elastic_quality [--seeds 1] [--steps 300]
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells, Row
from earkit.benchmarks.retrieval import retrieval
from earkit.distill.distil_dry_run import multiply_adds
from earkit.distill.distilled import DistilledStudent
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.audio import SAMPLE_RATE

NAME = "elastic_quality"
DEPTHS = (2, 4, 6, 8)


def rows(model: DistilledStudent, manifest: Path) -> Iterator[Row]:
    """Word retrieval with the first blocks alone, and what they cost."""
    labels, speakers = bench.word_labels(manifest)
    clips = [word.samples for word in bench.test_words(manifest)]
    second = torch.zeros(1, SAMPLE_RATE)
    for depth in DEPTHS:
        first = retrieval(bench.embeddings(model, clips, depth), labels, speakers).first
        cost = round(multiply_adds(model.student, second, depth))
        yield {"depth": depth, "word_1nn": round(first, 4), "multiply_adds": cost}


def main() -> None:
    """Measure every seed that is missing."""
    given = bench.options(__doc__, seeds=1).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny")
    for seed in range(given.seeds):
        teacher = str(bench.teacher_run(given.runs, seed, manifest))
        for name, overrides in {"default": [], "elastic": ["elastic=true"]}.items():
            if not cells.find(name=name, seed=seed):
                settings = [f"steps={given.steps}", *overrides]
                run = bench.student_run(
                    given.runs, name, seed, manifest, teachers=[teacher], overrides=settings
                )
                found = rows(bench.load(run), manifest)
                cells.keep({"name": name, "seed": seed, **row} for row in found)


if __name__ == "__main__":
    main()
