"""The task stage: a student of the general stage learns to name the classes of a labelled corpus.

As TinyBERT's task-specific distillation (Jiao et al. 2020, sections 3 and 4.3), with few labelled clips and
many augmented views of them, in phases that each resume by themselves, in a folder of their own:

1. `teacher_head`, and `teacher_finetuned` if asked for: the teachers learn the task (`task_teacher`).
2. `intermediate`: general distillation over again, on the clips of the task and from the task's teachers.
3. `prediction`: a classifier on the student's embedding, and the student with it, learn from soft labels.

Without a teacher only the third phase is left: fine-tuning on the labels, or with `scratch` training on them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor

from earkit.distill.classes import Indices
from earkit.distill.config import build, override, to_toml
from earkit.distill.data.batches import PaddedBatch
from earkit.distill.data.corpus import Corpus
from earkit.distill.data.corpus import Progress as Count
from earkit.distill.data.segments import SegmentConfig
from earkit.distill.device import processes
from earkit.distill.distillation import DistilConfig, DistilReport, distil, load_recipe
from earkit.distill.distilled import (
    DESCRIPTION,
    DistilledStudent,
    Provenance,
    load_student,
    save_student,
)
from earkit.distill.losses.matryoshka import MatryoshkaConfig
from earkit.distill.objective import LossesConfig, TeacherConfig
from earkit.distill.prediction import Prediction
from earkit.distill.spans import SpanConfig
from earkit.distill.stopwatch import Stopwatch
from earkit.distill.student import Student, StudentConfig
from earkit.distill.task_clips import TaskClips, ViewBatch, ViewConfig, as_they_are, divide, view_batches
from earkit.distill.task_teacher import Graded, TaskLesson, TaskTeacher, save_finetuned
from earkit.distill.teachers.download import Progress as Bytes
from earkit.distill.teachers.resolve import load_teacher_by_name
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.training import LoopConfig, Progress, Say, Training
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import ConfigError

MOST_VIEWS, MOST_CLIPS = 10_000, 5000
"""On which the teachers' head is fitted, and on which the student's classifier begins; at most, evenly."""
HEAD = "head.safetensors"

Phase = Literal["teacher_finetuned", "intermediate", "prediction"]


@dataclass(frozen=True)
class TaskConfig(LoopConfig):
    """Everything that decides a task run; `optim` is that of the prediction phase, others differ in `lr`."""

    steps: int = 0
    """Of all phases together; where it is given, each phase gets its share."""
    teacher_views: int = 4
    """Of each clip, on which a head for the teachers is fitted; 0 is no task teacher: the intermediate phase
    learns from the teachers, the last one from labels."""
    finetune_steps: int = 0
    """Steps in which the teachers' transformers learn too; 0 leaves them as they are."""
    intermediate_steps: int = 200
    prediction_steps: int = 600
    finetune_lr: float = 5e-5
    intermediate_lr: float = 3e-4
    start: str = ""
    """A run or student folder of the general stage."""
    scratch: bool = False
    """Begin with random weights and without teachers, to see what distillation is worth."""
    label: str = "label"
    """Column of the manifest that names the class."""
    held_out: float = 0.1
    """Share of each class that accuracy is measured on; 0 is none."""
    probe_every: int = 100
    """Steps between measurements of accuracy; 0 is at the end of a phase alone."""
    temperature: float = 1.0
    hard_weight: float = 4.0
    """Weight of the cross entropy with the labels, next to that with the soft labels."""
    anneal: bool = True
    """Let the weight of the soft labels fall from 1 to 0 over the prediction phase."""
    cache: bool = True
    student: StudentConfig = field(default_factory=StudentConfig)
    teachers: tuple[TeacherConfig, ...] = ()
    losses: LossesConfig = field(default_factory=LossesConfig)
    """Of the intermediate phase."""
    matryoshka: MatryoshkaConfig = field(default_factory=MatryoshkaConfig)
    spans: SpanConfig = field(default_factory=SpanConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    data: SegmentConfig = field(default_factory=SegmentConfig)

    def __post_init__(self) -> None:
        self._share_steps()
        super().__post_init__()
        if self.hours:
            raise ConfigError("a task run is paced by steps: give --steps instead of --hours")
        if self.scratch and self.teachers:
            raise ConfigError("scratch learns from labels alone: leave the teachers out")
        if not self.start and not self.scratch:
            raise ConfigError("the task stage begins with a distilled student: give --from RUN")
        if not (self.temperature > 0 and self.hard_weight >= 0):
            raise ConfigError(
                "temperature must be above 0 and hard_weight 0 or more, not "
                f"{self.temperature:g} and {self.hard_weight:g}"
            )
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out:g}: give a share from 0 to below 1")
        if self.matryoshka.dims[-1] != self.student.embedding_dim:
            raise ConfigError(
                f"matryoshka.dims end with {self.matryoshka.dims[-1]}: "
                f"they must end with the full width, student.embedding_dim = {self.student.embedding_dim}"
            )
        if self.intermediate_steps:
            self.intermediate(self.teachers)  # refuses what does not fit before anything is trained

    def _share_steps(self) -> None:
        """Scale the phases to `steps`; phases that need a teacher have none without one."""
        before = ("finetune_steps", "intermediate_steps")
        for name in () if self.teachers else ("teacher_views", *before):
            object.__setattr__(self, name, 0)
        names = (*before, "prediction_steps")
        phases = [getattr(self, name) for name in names]
        if min(*phases, self.teacher_views) < 0 or not self.prediction_steps:
            raise ConfigError(
                "prediction_steps is at least 1, the steps of other phases and teacher_views 0 or more"
            )
        if self.finetune_steps and not self.teacher_views:
            raise ConfigError("teachers are fine-tuned with their head: set teacher_views to 1 or more")
        if self.teachers and not self.teacher_views + self.intermediate_steps:
            raise ConfigError("no phase uses a teacher: leave the teachers out")
        total = sum(phases)
        if self.steps and self.steps != total:
            scale = self.steps / total
            for name, steps in zip(names, phases, strict=True):
                object.__setattr__(self, name, max(1, round(scale * steps)) if steps else 0)
        object.__setattr__(self, "steps", sum(getattr(self, name) for name in names))

    def loop(self, steps: int, lr: float) -> dict[str, Any]:
        """Give the loop's part of the configuration of one phase."""
        mine = {item.name: getattr(self, item.name) for item in dataclasses.fields(LoopConfig)}
        return {**mine, "steps": steps, "optim": dataclasses.replace(self.optim, lr=lr)}

    def intermediate(self, teachers: tuple[TeacherConfig, ...]) -> DistilConfig:
        """Configure the intermediate phase, which is general distillation on other clips."""
        return DistilConfig(
            **self.loop(self.intermediate_steps, self.intermediate_lr),
            start=self.start,
            cache=self.cache,
            probe_every=0,
            student=self.student,
            teachers=teachers,
            losses=self.losses,
            matryoshka=self.matryoshka,
            spans=self.spans,
            data=self.data,
        )


def task_config(
    recipe: str = "task",
    *,
    teachers: Sequence[str] = (),
    student: str | None = None,
    start: str = "",
    overrides: Sequence[str] = (),
) -> TaskConfig:
    """Make the configuration of a run: what the command line says wins over the recipe.

    The student's shape is that of the one to start from, and so are the teachers unless others are given;
    `teachers=[]` among the overrides is fine-tuning without one.
    """
    values = load_recipe(recipe, overrides)
    start = start or values.get("start", "")
    if start:
        model, provenance = load_student(Path(start))
        if student and student != model.config.size:
            raise ConfigError(f"the student in {start} is {model.config.size}, not {student}: leave one out")
        values |= {"start": start, "student": dataclasses.asdict(model.config)}
        dims = model.outputs.dims or (model.config.embedding_dim,)
        values["matryoshka"] = {"dims": list(dims), **values.get("matryoshka", {})}
        if not values.get("scratch"):
            values.setdefault("teachers", [{"name": name} for name in provenance.teachers])
    elif student:
        override(values, [f"student.size={student}"])
    config = build(TaskConfig, values, recipe)
    if not teachers:
        return config
    described = {teacher.name: teacher for teacher in config.teachers}
    chosen = tuple(described.get(name) or TeacherConfig(name) for name in teachers)
    return dataclasses.replace(config, teachers=chosen)


@dataclass(frozen=True)
class TaskReport(Progress):
    """What one step of a phase showed; `step` and `steps` are those of the phase."""

    phase: Phase
    accuracy: dict[str, float]
    """`views`: of the last batch; `held_out`: of the clips held out, where measured at this step."""
    parts: dict[str, float]
    """Of the intermediate phase: weighted losses by name, of the last batch."""


Report = Callable[[TaskReport], None]


def distil_task(
    config: TaskConfig,
    corpus: Corpus,
    out: Path,
    *,
    report: Report,
    say: Say,
    progress: Count | None = None,
    download: Bytes | None = None,
) -> Path:
    """Run the phases that are not done yet in the run folder `out`; returns the folder of the student.

    progress: hears how many segments of a teacher's feature cache are done, in the intermediate phase.
    download: hears the bytes of a teacher that has to be fetched.
    """
    joined = processes()
    clips = divide(corpus, config.data, config.label, config.held_out, config.seed)
    run = _TaskRun(config, clips, out, joined, report, say if joined.is_main_process else lambda _: None)
    run.say(
        f"{len(clips.classes)} classes, {len(clips.train.clips)} clips to learn from, "
        f"{len(clips.held.clips) or 'none'} held out"
    )
    if joined.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.toml", to_toml(config))
    teacher, named = run.teach_teachers(download) if config.teacher_views else (None, config.teachers)
    begin = Path(config.start) if config.start and not config.scratch else None
    if config.intermediate_steps:
        begin = run.intermediate(named, progress)
    model, figures, seconds = run.predict(begin, teacher)
    folder = out / "student"
    if joined.is_main_process:
        before = load_student(Path(config.start))[1].teachers if begin else ()
        provenance = Provenance(
            name=out.name,
            teachers=tuple(dict.fromkeys((*before, *(each.name for each in config.teachers)))),
            data=corpus.source,
            licences=tuple(sorted({c.labels["licence"] for c in corpus.clips if c.labels.get("licence")})),
            audio_seconds=seconds,
            steps=config.steps,
            figures=figures,
        )
        save_student(model, folder, provenance)
    joined.wait_for_everyone()
    return folder


class _Classifying:
    """How a classifier of either kind learns: from views of clips, their labels, and soft labels if any."""

    def __init__(
        self,
        phase: Phase,
        config: TaskConfig,
        clips: TaskClips,
        module: TaskTeacher | Prediction,
        teacher: TaskTeacher | None = None,
    ) -> None:
        self.phase, self.config, self.clips = phase, config, clips
        self.module: TaskTeacher | Prediction = module
        self.teacher = teacher
        self.step = 0

    @property
    def device(self) -> torch.device:
        weight: Tensor = self.module.classifier.weight
        return weight.device

    def batches(self, rank: int, world: int, start: int) -> Iterator[ViewBatch]:
        config = self.config
        return view_batches(
            self.clips.train, config.data, config.views, seed=config.seed, rank=rank, world=world, start=start
        )

    def prepare(
        self, batch: ViewBatch, rng: np.random.Generator, watch: Stopwatch
    ) -> tuple[tuple[TaskLesson], float]:
        del rng  # the views are all that is left to chance
        lesson = _lesson(batch, self.clips.labels, self.device)
        if self.teacher is not None:
            with torch.no_grad():
                soft = self.teacher.logits(lesson.audio, lesson.lengths)
            watch.lap("teacher")
            left = 1 - self.step / self.config.prediction_steps if self.config.anneal else 1.0
            lesson = dataclasses.replace(lesson, soft=soft, soft_weight=left)
        return (lesson,), float(len(lesson.labels))

    def stepped(self) -> None:
        self.step += 1

    def finish(self) -> None:
        pass

    def restored(self, step: int) -> None:
        self.step = step

    def state(self) -> dict[str, Any]:
        return {"phase": self.phase}

    def show(self, progress: Progress, output: Graded) -> TaskReport:
        accuracy = {"views": round(float(output.right) / output.clips, 4)}
        every = self.config.probe_every
        due = progress.step == progress.steps or (every and progress.step % every == 0)
        if due and self.clips.held.clips:
            accuracy["held_out"] = self.measure()
        return TaskReport(**dataclasses.asdict(progress), phase=self.phase, accuracy=accuracy, parts={})

    @torch.no_grad()
    def measure(self) -> float:
        """Accuracy on the clips that are held out, as they are."""
        self.module.eval()
        right = counted = 0
        for batch in as_they_are(self.clips.held, self.config.data):
            logits = self.module.logits(batch.audio.to(self.device), batch.lengths.to(self.device))
            labels = self.clips.held_labels[list(batch.clips)]
            right += int((logits.argmax(1).cpu().numpy() == labels).sum())
            counted += len(labels)
        self.module.train()
        return round(right / counted, 4)


@dataclass(frozen=True)
class _TaskRun:
    """The phases of one run, each in a folder of its own."""

    config: TaskConfig
    clips: TaskClips
    out: Path
    joined: PartialState
    report: Report
    say: Say

    def teach_teachers(self, download: Bytes | None) -> tuple[TaskTeacher, tuple[TeacherConfig, ...]]:
        """Fit the head, and train the teachers too if asked for; returns where they lie then."""
        config, clips = self.config, self.clips
        with self.joined.main_process_first():
            teachers = [
                TeacherAtWork(*load_teacher_by_name(each.name, download), self.joined.device)
                for each in config.teachers
            ]
        teacher = TaskTeacher(teachers, len(clips.classes)).to(self.joined.device).eval()
        with self.joined.main_process_first():
            self._fit(teacher)
        named = config.teachers
        if config.finetune_steps:
            teacher.finetune()
            finetuning = _Classifying("teacher_finetuned", config, clips, teacher)
            self._train(finetuning, config.finetune_steps, config.finetune_lr)
            named = self._keep(teachers)
        return teacher.requires_grad_(requires_grad=False), named

    def _fit(self, teacher: TaskTeacher) -> None:
        """Fit the head, or take it from where it was kept."""
        config, kept = self.config, self.out / "teacher_head" / HEAD
        if kept.is_file():
            teacher.load_state_dict(load_file(kept))
            return
        self.say(f"teacher_head: {config.teacher_views} views of each clip")
        clips = len(self.clips.train.clips)
        most = min(config.teacher_views * clips, MOST_VIEWS)
        teacher.fit(self._views(most), min(clips, most))
        with replacing(kept) as place:
            save_file(teacher.state_dict(), place)

    def _views(self, least: int) -> Iterator[TaskLesson]:
        """Give views of the clips to learn from, until there are enough."""
        config, seen = self.config, 0
        for batch in view_batches(self.clips.train, config.data, config.views, seed=config.seed):
            yield _lesson(batch, self.clips.labels, self.joined.device)
            seen += len(batch.clips)
            if seen >= least:
                return

    def _keep(self, teachers: Sequence[TeacherAtWork]) -> tuple[TeacherConfig, ...]:
        """Write the fine-tuned teachers, for the intermediate phase."""
        folders = [self.out / "teacher_finetuned" / f"teacher_{i + 1}" for i in range(len(teachers))]
        if self.joined.is_main_process:
            for each, folder in zip(teachers, folders, strict=True):
                save_finetuned(each, folder)
        self.joined.wait_for_everyone()
        return tuple(
            dataclasses.replace(each, name=str(folder))
            for each, folder in zip(self.config.teachers, folders, strict=True)
        )

    def intermediate(self, teachers: tuple[TeacherConfig, ...], progress: Count | None) -> Path:
        """Distil on the clips of the task; returns the student's folder, which is written last."""
        folder = self.out / "intermediate"
        if (folder / "student" / DESCRIPTION).is_file():
            return folder / "student"
        self.say(f"intermediate: {self.config.intermediate_steps} steps")

        def pass_on(shown: DistilReport) -> None:
            plain = {item.name: getattr(shown, item.name) for item in dataclasses.fields(Progress)}
            self.report(TaskReport(**plain, phase="intermediate", accuracy={}, parts=shown.parts))

        return distil(
            self.config.intermediate(teachers),
            self.clips.train,
            folder,
            report=pass_on,
            say=self.say,
            progress=progress,
        )

    def predict(
        self, begin: Path | None, teacher: TaskTeacher | None
    ) -> tuple[DistilledStudent, dict[str, float], float]:
        """Train the classifier and the student; returns what is kept, figures, and seconds of audio heard."""
        config, clips = self.config, self.clips
        torch.manual_seed(config.seed)
        student = load_student(begin)[0].student.train() if begin else Student(config.student)
        prediction = Prediction(
            student, len(clips.classes), config.matryoshka.dims, config.temperature, config.hard_weight
        )

        learner = _Classifying("prediction", config, clips, prediction, teacher)

        def calibrate() -> None:
            some = self._some(MOST_CLIPS, learner.device)
            if begin is not None:
                prediction.probe(some)
                return
            rows = (row[:n] for batch in some for row, n in zip(batch.audio, batch.lengths, strict=True))
            student.log_mel.fit(list(rows))
            prediction.calibrate(some)

        seconds = self._train(learner, config.prediction_steps, config.optim.lr, calibrate)
        figures = {"held_out_accuracy": learner.measure()} if clips.held.clips else {}
        return prediction.classifying(clips.classes), figures, seconds

    def _train(
        self,
        learner: _Classifying,
        steps: int,
        lr: float,
        calibrate: Callable[[], None] | None = None,
    ) -> float:
        """Train to the end in the phase's folder; returns seconds of audio. `calibrate` precedes step 1."""
        self.say(f"{learner.phase}: {steps} steps")
        loop = LoopConfig(**self.config.loop(steps, lr))
        run = Training(loop, learner, self.out / learner.phase, self.say)
        if calibrate is not None and not run.step:
            calibrate()
        run.train(self.clips.train.skipped, self.report)
        learner.module.eval()
        return round(run.audio_seconds, 1)

    def _some(self, most: int, device: torch.device) -> list[TaskLesson]:
        """Take some clips as they are, evenly over those to learn from."""
        clips = self.clips.train.clips
        chosen = np.unique(np.linspace(0, len(clips) - 1, most).astype(int))
        some = as_they_are(Corpus(tuple(clips[i] for i in chosen)), self.config.data)
        return [_lesson(batch, self.clips.labels[chosen], device) for batch in some]


def _lesson(batch: PaddedBatch | ViewBatch, labels: Indices, device: torch.device) -> TaskLesson:
    """Take a batch to a device with its labels. labels: of all clips that it is of."""
    of_batch = torch.from_numpy(labels[list(batch.clips)])
    return TaskLesson(batch.audio.to(device), batch.lengths.to(device), of_batch.to(device))
