"""The task stage with ten labelled clips of each word, against doing without it.

    python -m earkit.benchmarks.task_quality [--seeds 3] [--steps 300]

Words of the embedded corpus, cut out, ten clips of each from the training speakers; accuracy on words of
speakers never heard. Compared: `kit distill --task` from the general student; a linear probe on the frozen
embedding of that student, its regularisation chosen by cross-validation on the same clips; the same student
trained from random weights on the same labels, with the same augmentation and as many steps; and fine-tuning
without a teacher.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells
from earkit.benchmarks.spoken_words import write_words
from earkit.distill.data.corpus import open_corpus
from earkit.distill.distilled import DistilledStudent
from earkit.distill.run_folder import open_run
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.task import distil_task, task_config

NAME = "task_quality"
PER_WORD = 10
FROZEN = "linear probe, frozen"
VARIANTS: dict[str, list[str]] = {
    "--task": [],
    "from scratch, labels only": ["scratch=true", "prediction_steps=1200"],
    "fine-tuned, labels only": ["teachers=[]", "prediction_steps=1200"],
}
"""Without a teacher, the steps of the other phases go to the last one."""


def labelled(folder: Path, seed: int, manifest: Path) -> Path:
    """Write the clips to learn from, once; another seed draws others."""
    place = folder / f"seed{seed}" / "words"
    if not place.exists():
        write_words(manifest, "train", place, PER_WORD, seed)
    return place / "manifest.csv"


def probe(model: DistilledStudent, clips: Path, manifest: Path) -> float:
    """Accuracy of a linear probe on the frozen embedding."""
    corpus = open_corpus(clips)
    vectors = bench.embeddings(model, [clip.read().samples for clip in corpus.clips])
    heads = LogisticRegressionCV(
        Cs=8, cv=3, max_iter=500, l1_ratios=(0.0,), scoring="accuracy", use_legacy_attributes=False
    )
    fitted = make_pipeline(StandardScaler(), heads).fit(
        vectors, [clip.labels["label"] for clip in corpus.clips]
    )
    spoken = bench.test_words(manifest)
    made = bench.embeddings(model, [word.samples for word in spoken])
    return float(fitted.score(made, [word.word for word in spoken]))


def classified(model: DistilledStudent, manifest: Path) -> float:
    """Accuracy of the student's own classifier."""
    assert model.classifier is not None
    spoken = bench.test_words(manifest)
    right = 0
    for word in spoken:
        audio = torch.from_numpy(np.asarray(word.samples))[None]
        with torch.inference_mode():
            frames, valid = model.frames(audio, torch.tensor([audio.shape[1]]))
            scores = model.classifier(model.student.pool(frames, valid))
        right += model.outputs.classes[int(scores.argmax())] == word.word
    return right / len(spoken)


def task_run(run: Path, seed: int, start: Path, clips: Path, settings: list[str]) -> Path:
    """Run the task stage as `kit distill --task` does, unless it is there."""
    if not (run / "student" / "student.json").is_file():
        config = task_config(start=str(start), overrides=["held_out=0", *settings, f"seed={seed}"])
        corpus = open_run(run, config, clips, fresh=False, say=bench.quiet)
        distil_task(config, corpus, run, report=bench.quiet, say=bench.quiet)
    return run


def main() -> None:
    """Measure every cell that is missing."""
    given = bench.options(__doc__, seeds=3).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny", clips_per_word=PER_WORD)
    for seed in range(given.seeds):
        clips = labelled(given.runs, seed, manifest)
        start = bench.default_run(given.runs, seed, manifest, given.steps)
        if not cells.find(name=FROZEN, seed=seed):
            accuracy = probe(bench.load(start), clips, manifest)
            cells.keep([{"name": FROZEN, "seed": seed, "accuracy": round(accuracy, 4)}])
        for name, overrides in VARIANTS.items():
            if not cells.find(name=name, seed=seed):
                place = "task_" + name.strip("-").split(",")[0].replace(" ", "_")
                run = task_run(given.runs / f"seed{seed}" / place, seed, start, clips, overrides)
                accuracy = classified(bench.load(run), manifest)
                cells.keep([{"name": name, "seed": seed, "accuracy": round(accuracy, 4)}])


if __name__ == "__main__":
    main()
