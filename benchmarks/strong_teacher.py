"""What students keep of a teacher that knows more than they could find out alone.

    python -m earkit.benchmarks.peers get speech_embedding
    python -m earkit.benchmarks.strong_teacher [--seeds 3] [--steps 300]

As `distill_quality`, with Google's speech_embedding for a teacher, which was trained on far more speech than
there is here: the default student, one with `tinybert` weighed as for teachers with codebooks, one without
it, and one of hidden states alone.
"""

from collections.abc import Mapping

import numpy as np

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.distill_quality import ALONE, frame_scores, off, student_scores
from earkit.benchmarks.probes import FRAME, HALF_WINDOW, Featurise
from earkit.benchmarks.representations import load
from earkit.benchmarks.results import Cells
from earkit.distill.speech.synthetic_corpus import default_corpus

NAME = "strong_teacher"
TEACHER = "speech_embedding"
PLAIN = "hidden states only"
WEAK = "default with tinybert x 1"
VARIANTS: dict[str, list[str]] = {
    "default": [],
    WEAK: ["losses.tinybert.without_codes=1"],
    "default without tinybert": ["losses.tinybert.weight=0"],
    PLAIN: [*off(), *ALONE[PLAIN]],
}


def teacher_features() -> tuple[Featurise, str]:
    """Give the teacher's frames, on the grid of the probes, and its last layer's name."""
    teacher = load(TEACHER)
    assert teacher.frames is not None
    heard = teacher.frames

    def featurise(samples: bench.Array) -> Mapping[str, bench.Array]:
        layers = heard(samples)
        centres = np.arange(len(samples) // FRAME) * FRAME + HALF_WINDOW
        return {name: x[teacher.frame_at(centres, len(x))] for name, x in layers.items()}

    return featurise, list(heard(np.zeros(16_000, np.float32)))[-1]


def main() -> None:
    """Measure every cell that is missing."""
    given = bench.options(__doc__, seeds=3).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny")
    for seed in range(given.seeds):
        if not cells.find(name=TEACHER, seed=seed):
            featurise, last = teacher_features()
            scores = frame_scores(featurise, manifest, seed, last)
            cells.keep([{"name": TEACHER, "seed": seed, **scores}])
        for name, overrides in VARIANTS.items():
            if not cells.find(name=name, seed=seed):
                place = "_".join(["of", TEACHER, *name.removeprefix("default").split()])
                settings = [f"steps={given.steps}", *overrides]
                run = bench.student_run(
                    given.runs, place, seed, manifest, teachers=[TEACHER], overrides=settings
                )
                scores = student_scores(bench.load(run), manifest, seed, embeds=name != PLAIN)
                cells.keep([{"name": name, "seed": seed, **scores}])


if __name__ == "__main__":
    main()
