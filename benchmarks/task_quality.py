"""The task stage with ten labelled clips of each word, against doing without it.

    python -m earkit.benchmarks.task_quality [--seeds 3] [--steps 300]

Words of the embedded corpus, cut out, ten clips of each from the training speakers; accuracy on words of
speakers never heard. Compared: `kit distill --task` from the general student; a linear probe on the frozen
embedding of that student, its regularisation chosen by cross-validation on the same clips; the same student
trained from random weights on the same labels, with the same augmentation and as many steps; and fine-tuning
without a teacher.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import load_rows, store
from earkit.benchmarks.spoken_words import write_words
from earkit.distill.data.corpus import open_corpus
from earkit.distill.distilled import DistilledStudent
from earkit.distill.run_folder import open_run
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.task import distil_task, task_config
from earkit.runtime.cache import cache_folder

NAME = "task_quality"
COMMAND = "python -m earkit.benchmarks.task_quality"
PER_WORD = 10
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
    heads = LogisticRegressionCV(Cs=8, cv=3, max_iter=500)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    arguments = parser.parse_args()
    manifest = default_corpus()
    settings = {"steps": arguments.steps, "student": "tiny", "clips_per_word": PER_WORD}
    rows = load_rows(NAME, settings)

    def keep(name: str, seed: int, accuracy: float) -> None:
        row: dict[str, Any] = {"name": name, "seed": seed, "accuracy": round(accuracy, 4)}
        rows.append(row)
        print(row, flush=True)
        store(NAME, COMMAND, rows, **settings)

    for seed in range(arguments.seeds):
        done = {row["name"] for row in rows if row["seed"] == seed}
        clips = labelled(arguments.runs, seed, manifest)
        teacher = str(bench.teacher_run(arguments.runs, seed, manifest))
        given = [f"steps={arguments.steps}"]
        start = bench.student_run(
            arguments.runs, "default", seed, manifest, teachers=[teacher], overrides=given
        )
        if "linear probe, frozen" not in done:
            keep("linear probe, frozen", seed, probe(bench.load(start), clips, manifest))
        for name, overrides in VARIANTS.items():
            if name not in done:
                place = "task_" + name.strip("-").split(",")[0].replace(" ", "_")
                run = task_run(arguments.runs / f"seed{seed}" / place, seed, start, clips, overrides)
                keep(name, seed, classified(bench.load(run), manifest))


if __name__ == "__main__":
    main()
