"""Does a second teacher help? One that knows sounds, one that knows voices, and both at once.

    python -m earkit.benchmarks.peers get ecapa speech_embedding
    python -m earkit.benchmarks.two_teachers [--seeds 3] [--steps 300]

Students of a `dinosr_nano` teacher trained on the embedded corpus, of a real ONNX embedder, and of the two in
one command, with everything else equal. Word retrieval and speaker identification, by the embedding, on
speakers never heard; and the mean of the two.
"""

from pathlib import Path
from typing import Any

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells
from earkit.distill.speech.synthetic_corpus import default_corpus

NAME = "two_teachers"
EMBEDDERS = ("ecapa", "speech_embedding")


def measure(folder: Path, seed: int, manifest: Path, steps: int, others: tuple[str, ...]) -> dict[str, Any]:
    """Train one student of the DinoSR teacher (named "dinosr_nano") and others, and score its embedding."""
    teachers = [
        str(bench.teacher_run(folder, seed, manifest)) if name == "dinosr_nano" else name for name in others
    ]
    name = "default" if others == ("dinosr_nano",) else "of_" + "_and_".join(others)
    run = bench.student_run(folder, name, seed, manifest, teachers=teachers, overrides=[f"steps={steps}"])
    scores = bench.student_embedding_scores(bench.load(run), manifest, seed)
    mean = round((scores["word_1nn"] + scores["speaker"]) / 2, 4)
    return {"name": " and ".join(others), "seed": seed, **scores, "mean": mean}


def main() -> None:
    """Measure every cell that is missing."""
    given = bench.options(__doc__, seeds=3).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny")
    alone = [("dinosr_nano",), *((name,) for name in EMBEDDERS)]
    for seed in range(given.seeds):
        for others in [*alone, *(("dinosr_nano", name) for name in EMBEDDERS)]:
            if not cells.find(name=" and ".join(others), seed=seed):
                cells.keep([measure(given.runs, seed, manifest, given.steps, others)])


if __name__ == "__main__":
    main()
