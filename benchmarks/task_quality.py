"""The task stage with ten labelled clips of each word, against doing without it.

    python -m earkit.benchmarks.peers get speech_embedding
    python -m earkit.benchmarks.task_quality [TEACHER …] [--seeds 3] [--steps 1000] [--budgets 300 1200]

Words of the embedded corpus, cut out; accuracy on words of speakers never heard. Ten clips of each word
come from all training speakers; or, as where one records the clips oneself, two to ten from three of them,
and then only words that these say count. The student is as `kit distill` makes it from Google's
speech_embedding, which has heard far more than there is here, or from `dinosr_nano`. Compared: `kit distill
--task` from it; a linear probe on its frozen embedding, its regularisation chosen by cross-validation on the
same clips; fine-tuning without a teacher; and the same student trained from random weights on the same
labels, with the same augmentation. All but the probe have as many steps.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells
from earkit.benchmarks.spoken_words import SpokenWord, write_words
from earkit.distill.config import read_config
from earkit.distill.data.corpus import open_corpus
from earkit.distill.distilled import DistilledStudent
from earkit.distill.run_folder import open_run
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.task import TaskConfig, distil_task, task_config

NAME = "task_quality"
PER_WORD = 10
OURS = "dinosr_nano"
TEACHERS = ("speech_embedding", OURS)
SPEAKERS = (0, 3)
"""From how many the clips come; 0 is all."""
FROZEN, SCRATCH = "linear probe, frozen", "from scratch, labels only"
TUNED: dict[str, list[str]] = {"--task": [], "fine-tuned, labels only": ["teachers=[]"]}


@dataclass(frozen=True)
class Condition:
    """What is given: the clips to learn from, and in how many steps."""

    seed: int
    speakers: int
    budget: int


def labelled(folder: Path, condition: Condition, manifest: Path) -> Path:
    """Write the clips to learn from, once; another seed draws others."""
    few = f"_of_{condition.speakers}" if condition.speakers else ""
    place = folder / f"words{few}"
    if not place.exists():
        write_words(manifest, "train", place, PER_WORD, condition.seed, speakers=condition.speakers)
    return place / "manifest.csv"


def general_run(folder: Path, teacher: str, seed: int, manifest: Path, steps: int) -> Path:
    """Distil the student that the task stage begins with."""
    place, settings = f"general_of_{teacher}", [f"steps={steps}"]
    what = str(bench.teacher_run(folder, seed, manifest)) if teacher == OURS else teacher
    return bench.student_run(folder, place, seed, manifest, teachers=[what], overrides=settings)


def known(manifest: Path, classes: Container[str]) -> list[SpokenWord]:
    """Give the words of the test of which there were clips to learn from; few speakers do not say all."""
    return [word for word in bench.test_words(manifest) if word.word in classes]


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
    spoken = known(manifest, set(fitted.classes_))
    made = bench.embeddings(model, [word.samples for word in spoken])
    return float(fitted.score(made, [word.word for word in spoken]))


def classified(model: DistilledStudent, manifest: Path) -> float:
    """Accuracy of the student's own classifier."""
    assert model.classifier is not None
    spoken = known(manifest, set(model.outputs.classes))
    right = 0
    for word in spoken:
        audio = torch.from_numpy(np.asarray(word.samples))[None]
        with torch.inference_mode():
            frames, valid = model.frames(audio, torch.tensor([audio.shape[1]]))
            scores = model.classifier(model.student.pool(frames, valid))
        right += model.outputs.classes[int(scores.argmax())] == word.word
    return right / len(spoken)


def task_run(run: Path, start: Path, clips: Path, condition: Condition, settings: list[str]) -> Path:
    """Run the task stage as `kit distill --task` does, unless it is there by the same settings."""
    fixed = ["held_out=0", f"steps={condition.budget}", f"seed={condition.seed}"]
    config = task_config(start=str(start), overrides=[*fixed, *settings])
    outdated = (run / "config.toml").is_file() and read_config(TaskConfig, run / "config.toml") != config
    if outdated or not (run / "student" / "student.json").is_file():
        corpus = open_run(run, config, clips, fresh=outdated, say=bench.quiet)
        distil_task(config, corpus, run, report=bench.quiet, say=bench.quiet)
    return run


def measure(cells: Cells, condition: Condition, teacher: str, start: Path, manifest: Path) -> None:
    """Measure what is missing of one condition. start: the run of the general student of a teacher."""
    clips = labelled(start.parent, condition, manifest)

    def keep(name: str, teacher: str, accuracy: Callable[[], float], budget: int) -> None:
        where = {"seed": condition.seed, "speakers": condition.speakers}
        cell = {"name": name, "teacher": teacher, **where, "budget": budget}
        if not cells.find(**cell):
            cells.keep([{**cell, "accuracy": round(accuracy(), 4)}])

    def learned(name: str, settings: list[str]) -> float:
        place = f"{name.strip('-').split(',')[0].replace(' ', '_')}_{condition.speakers}_{condition.budget}"
        run = start.parent / f"task_{start.name}" / place
        return classified(bench.load(task_run(run, start, clips, condition, settings)), manifest)

    keep(FROZEN, teacher, partial(probe, bench.load(start), clips, manifest), 0)
    for name, settings in TUNED.items():
        keep(name, teacher, partial(learned, name, settings), condition.budget)
    scratch = partial(learned, SCRATCH, ["scratch=true"])  # of the start, only the shape counts
    keep(SCRATCH, "", scratch, condition.budget)


def main() -> None:
    """Measure every cell that is missing."""
    parser = bench.options(__doc__, seeds=3)
    parser.set_defaults(steps=1000)
    parser.add_argument("teachers", nargs="*", metavar="TEACHER", help=f"some of {', '.join(TEACHERS)}")
    parser.add_argument("--budgets", type=int, nargs="+", default=[300, 1200])
    given = parser.parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny", clips_per_word=PER_WORD)
    for budget in given.budgets:
        for seed in range(given.seeds):
            for teacher in given.teachers or TEACHERS:
                start = general_run(given.runs, teacher, seed, manifest, given.steps)
                for speakers in SPEAKERS:
                    measure(cells, Condition(seed, speakers, budget), teacher, start, manifest)


if __name__ == "__main__":
    main()
