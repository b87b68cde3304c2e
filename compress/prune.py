"""Pruning a student in rounds: each takes a part of what has to go, then distils what is left.

A round scores what can go on the very loss that it then recovers with, so the heads that this loss has beside
the student are carried along: from the run that the student comes from where it still has them, else trained
for some steps with the student frozen. Every round is a distillation run in a folder of its own, and resumes
like one; what it has begun with stands there too.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from earkit.compress.prune_config import PruneConfig, Target
from earkit.compress.prune_cost import cost
from earkit.compress.prune_groups import BlockGroups, cut, shape, student_groups
from earkit.compress.prune_importance import BlockScores, block_scores, lots, magnitude, taylor
from earkit.compress.prune_plan import ROUND, plan
from earkit.compress.prune_report import Pruned, Row
from earkit.compress.prune_rounds import Budget, begin, budget_of, names, round_folder, steps_of
from earkit.compress.prune_speed import largest_share
from earkit.distill import checkpoint
from earkit.distill.data.corpus import Corpus
from earkit.distill.data.corpus import Progress as Count
from earkit.distill.device import processes
from earkit.distill.distillation import DistilConfig, Distilling, Report, distil, learner_of
from earkit.distill.distilled import DESCRIPTION, DistilledStudent, Provenance, load_student, save_student
from earkit.distill.objective import Lesson
from earkit.distill.retention import Retention, hold_out
from earkit.distill.stopwatch import Stopwatch
from earkit.distill.student import Student, StudentConfig
from earkit.distill.teachers.download import Progress as Fetched
from earkit.distill.training import Say
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.paired_latency import paired_latency

HEADS, SHARE = "heads.safetensors", "share.json"

ToGraph = Callable[[DistilledStudent], onnx.ModelProto]
"""Makes of a student what is timed: its model file."""


def prune(
    config: PruneConfig,
    corpus: Corpus,
    out: Path,
    *,
    to_graph: ToGraph,
    report: Report,
    say: Say,
    progress: Count | None = None,
    download: Fetched | None = None,
) -> Pruned:
    """Prune in the run folder `out`, going on where it was stopped. progress, download: see `distil`."""
    begin(config, out)
    run = _PruneRun(config, corpus, out, to_graph, report, say, progress, download)
    for number in range(1, config.rounds + 1):
        if not _has_student(round_folder(out, number + 1) / "pruned"):
            run.round(number)
    return run.finish()


@dataclass
class _PruneRun:
    """The rounds of one run."""

    config: PruneConfig
    corpus: Corpus
    out: Path
    to_graph: ToGraph
    report: Report
    say: Say
    progress: Count | None
    download: Fetched | None

    def __post_init__(self) -> None:
        self.before, self.provenance = load_student(Path(self.config.start))
        self.training, self.held = hold_out(self.corpus)

    def round(self, number: int) -> None:
        """Prune, unless that is done, and recover."""
        folder, rounds = round_folder(self.out, number), self.config.rounds
        if not _has_student(folder / "pruned"):
            self._prune(number)
        student = load_student(folder / "pruned")[0].config
        self.say(f"round {number} of {rounds}: {_described(student)}")
        steps = steps_of(number, rounds, self.config.steps)
        self._distil(self._recovery(folder / "pruned", student, steps), folder, _read(folder / HEADS))

    def _distil(self, config: DistilConfig, folder: Path, heads: dict[str, Tensor]) -> None:
        distil(
            config,
            self.corpus,
            folder,
            report=self.report,
            say=self.say,
            progress=self.progress,
            download=self.download,
            heads=heads,
        )

    def _recovery(self, start: Path, student: StudentConfig, steps: int) -> DistilConfig:
        values = {item.name: getattr(self.config, item.name) for item in dataclasses.fields(DistilConfig)}
        if student.depth < self.before.config.depth:  # pairs of blocks that may be gone
            values["teachers"] = tuple(dataclasses.replace(each, pairs=()) for each in self.config.teachers)
        return DistilConfig(**values | {"start": str(start), "student": student, "steps": steps})

    def _prune(self, number: int) -> None:
        """Make the student that a round begins with, and keep the heads of the loss beside it."""
        folder, learner = round_folder(self.out, number), self._learned(number)
        groups = student_groups(learner.module.student)
        scores = self._scores(learner, groups)
        student = learner.module.cpu().student
        budget = self._budget(student, groups, scores)
        after = budget.after(number, self.config.rounds)
        kept = plan(student.config, scores, lambda config: budget.spent(cost(config)), after)
        state = learner.module.state_dict().items()
        with replacing(folder / HEADS) as temporary:
            save_file({k: v.contiguous() for k, v in state if not k.startswith("student.")}, temporary)
        save_student(_dressed(cut(student, groups, kept), self.before), folder / "pruned", self.provenance)

    def _learned(self, number: int) -> Distilling:
        """Give the student that a round prunes, beside its teachers and with the heads of the loss."""
        if number > 1:
            before = round_folder(self.out, number - 1)
            learner = self._learner(before / "pruned", before)
            learner.module.load_state_dict(_newest(before))
            return learner
        learner = self._learner(Path(self.config.start), self.out / "heads")
        learner.module.load_state_dict(self._first_state(learner), strict=False)
        return learner

    def _learner(self, start: Path, out: Path) -> Distilling:
        config = self._recovery(start, load_student(start)[0].config, 1)
        return learner_of(config, self.training, out, self.say, self.download)

    def _first_state(self, learner: Distilling) -> dict[str, Tensor]:
        """Find what the student's own run has trained beside it, or train that now."""
        own = Path(self.config.start).parent
        if checkpoint.saved(own / "checkpoints") and _fits(learner.module, state := _newest(own)):
            return state
        if all(name.startswith("student.") for name, _ in learner.module.named_parameters()):
            learner.module.to(processes().device)
            learner.calibrate()
            learner.module.cpu()
            return {}
        steps, folder = self.config.head_steps, self.out / "heads"
        self.say(f"training the heads of the loss for {steps} steps, the student frozen")
        config = self._recovery(Path(self.config.start), self.before.config, steps)
        self._distil(dataclasses.replace(config, freeze=True, elastic=False), folder, {})
        return _newest(folder)

    def _scores(self, learner: Distilling, groups: tuple[BlockGroups, ...]) -> tuple[BlockScores, ...]:
        config, student = self.config, learner.module.student
        if config.importance == "random":
            return lots(groups, dict(student.named_parameters()), config.seed)
        if config.importance == "magnitude":
            return block_scores(groups, magnitude(student))
        if config.cache:
            learner.remember(self.progress)
        learner.module.to(processes().device)
        self.say(f"scoring on {config.calibration_batches} batches of the distillation loss")
        return taylor(learner.module, _lessons(learner, config), groups)

    def _budget(
        self, student: Student, groups: tuple[BlockGroups, ...], scores: tuple[BlockScores, ...]
    ) -> Budget:
        """Turn the target into a count; the share that makes a student fast enough is searched once."""
        target = self.config.target
        if target.speedup:
            if not (self.out / SHARE).is_file():
                found = self._share_for_speed(student, groups, scores)
                write_text(self.out / SHARE, json.dumps({"multiply_adds": found}) + "\n")
            share = float(json.loads((self.out / SHARE).read_text(encoding="utf-8"))["multiply_adds"])
            target = Target(macs=share)
        return budget_of(target, cost(self.before.config))

    def _share_for_speed(
        self, student: Student, groups: tuple[BlockGroups, ...], scores: tuple[BlockScores, ...]
    ) -> float:
        whole, before = cost(student.config).multiply_adds, self.to_graph(self.before)
        wanted = self.config.target.speedup

        def faster(share: float) -> float:
            kept = plan(student.config, scores, lambda config: cost(config).multiply_adds, share * whole)
            graph = self.to_graph(_dressed(cut(student, groups, kept), self.before))
            speed = paired_latency([before, graph], threads=1)[1][1]
            self.say(f"{share:.0%} of the multiply-adds: {speed:.2f} times as fast")
            return speed

        least = cost(shape(student.config, (ROUND,), (1,))).multiply_adds / whole
        found = largest_share(faster, wanted, least)
        if found == least:
            raise ConfigError(
                f"pruning does not make this student {wanted:g} times as fast, as its front end "
                "and stem stay: give a smaller --speedup, or distil a smaller student"
            )
        return found

    def finish(self) -> Pruned:
        """Keep the student of the last round as that of the run, and measure what came of it all."""
        numbers = range(1, self.config.rounds + 1)
        rounds = [load_student(round_folder(self.out, number)) for number in numbers]
        models = [self.before, *(model for model, _ in rounds)]
        self.say("measuring time and quality")
        times = paired_latency([self.to_graph(model) for model in models], threads=1)
        rows = tuple(map(_row, names(len(models)), models, times, self._quality(models)))
        folder = self.out / "student"
        save_student(models[-1], folder, self._provenance([of for _, of in rounds], rows[-1].quality))
        made = Pruned(folder, rows)
        made.keep(self.out)
        return made

    def _quality(self, models: Sequence[DistilledStudent]) -> list[dict[str, float]]:
        """Measure each by the same probes; where no one is held out there are none."""
        teachers = self._learner(Path(self.config.start), self.out / "heads").teachers
        retention = None
        if self.held.clips:
            retention = Retention.prepare(self.training, self.held, self.config.data, teachers)
        return [retention.measure(model) if retention else {} for model in models]

    def _provenance(self, rounds: Sequence[Provenance], quality: dict[str, float]) -> Provenance:
        before, last = self.provenance, rounds[-1]
        return Provenance(
            name=self.out.name,
            teachers=tuple(dict.fromkeys((*before.teachers, *last.teachers))),
            data=self.corpus.source,
            licences=tuple(sorted({*before.licences, *last.licences})),
            audio_seconds=round(before.audio_seconds + sum(each.audio_seconds for each in rounds), 1),
            steps=before.steps + sum(each.steps for each in rounds),
            evaluation_clips=max(before.evaluation_clips, last.evaluation_clips),
            figures={f"retention of {task}": score for task, score in quality.items()},
        )


def _has_student(folder: Path) -> bool:
    return (folder / DESCRIPTION).is_file()


def _described(config: StudentConfig) -> str:
    heads = f" and {'/'.join(map(str, config.block_heads))} heads" if config.block_heads else ""
    return f"{config.depth} blocks with {'/'.join(map(str, config.inner_dims))} inner channels{heads}"


def _row(name: str, model: DistilledStudent, timed: tuple[float, float], quality: dict[str, float]) -> Row:
    config, counted = model.config, cost(model.config)
    blocks = range(1, config.depth + 1)
    return Row(
        name=name,
        depth=config.depth,
        inner_dims=tuple(config.inner_dim(k) for k in blocks),
        block_heads=tuple(config.heads_of(k) for k in blocks),
        parameters=counted.parameters,
        multiply_adds=counted.multiply_adds,
        milliseconds=round(timed[0], 3),
        speed=round(timed[1], 3),
        quality=quality,
    )


def _lessons(learner: Distilling, config: PruneConfig) -> Iterator[Lesson]:
    batches = learner.batches(0, 1, 0)
    for number in range(config.calibration_batches):
        rng = np.random.default_rng([config.seed, number])
        (lesson,), _ = learner.prepare(next(batches), rng, Stopwatch())
        yield lesson


def _dressed(student: Student, before: DistilledStudent) -> DistilledStudent:
    """Put the heads of the unpruned student, whose width is the same, on a pruned one."""
    made = DistilledStudent(student.config, before.outputs)
    heads = {k: v for k, v in before.state_dict().items() if not k.startswith("student.")}
    made.load_state_dict(heads | {f"student.{k}": v for k, v in student.state_dict().items()})
    return made.eval()


def _newest(run: Path) -> dict[str, Tensor]:
    return checkpoint.load(checkpoint.saved(run / "checkpoints")[-1]).model


def _fits(module: torch.nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether a checkpoint is of this very student and has all heads."""
    own: dict[str, Tensor] = module.state_dict()
    if not all(name in state and state[name].shape == own[name].shape for name in own):
        return False
    return all(torch.equal(state[name], own[name]) for name in own if name.startswith("student."))


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} is damaged ({error}): delete {file.parent} to prune again") from error
