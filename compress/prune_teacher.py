"""Pruning a teacher to a target in rounds, each recovered from what it was (DPHuBERT, Peng et al. 2023).

Weights are scored on DinoSR's own loss: next to itself the whole teacher has no error whose gradient could
tell what matters. Recovery needs no codes: each layer that is left learns the hidden states of the layer that
it was.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.compress.prune_config import Target
from earkit.compress.prune_cost import SECONDS
from earkit.compress.prune_importance import Importance
from earkit.compress.prune_report import Pruned, Row
from earkit.compress.prune_rounds import begin, budget_of, names, round_folder, steps_of
from earkit.compress.prune_teacher_shape import layer_groups, settled, smaller, teacher_cost
from earkit.distill import checkpoint
from earkit.distill.config import build, override, read_toml
from earkit.distill.data.batches import Batch, DataConfig, crop_batches
from earkit.distill.data.corpus import Corpus
from earkit.distill.data.segments import SegmentConfig
from earkit.distill.device import processes
from earkit.distill.dinosr import DinoSR, encode, load_teacher, save_teacher, standardise
from earkit.distill.masking import MaskConfig, span_mask
from earkit.distill.retention import Retention, hold_out, layers_of
from earkit.distill.schedule import OptimConfig
from earkit.distill.stopwatch import Stopwatch
from earkit.distill.teachers.huggingface import DINOSR_EPSILON, Teacher
from earkit.distill.teachers.resolve import STUDENT, find
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.training import LoopConfig, Progress, Say, Training
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import CheckpointError, ConfigError

TURNS = 7
Report = Callable[[Progress], None]


@dataclass(frozen=True)
class PruneTeacherConfig(LoopConfig):
    """Everything that decides a run; `steps` are those of all rounds together."""

    start: str = ""
    importance: Importance = "taylor"
    target: Target = field(default_factory=Target)
    rounds: int = 3
    calibration_batches: int = 8
    """Batches over which `taylor` sums."""
    mask: MaskConfig = field(default_factory=MaskConfig)
    """Of the loss that scores."""
    data: DataConfig = field(default_factory=lambda: DataConfig(max_seconds=10.0, batch_seconds=40.0))
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=5e-4, warmup=0.05, hold=0.45))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hours or self.rounds < 1 or self.calibration_batches < 1 or self.steps < self.rounds:
            raise ConfigError(
                "pruning is paced by steps, one or more for each round; rounds and calibration_batches are 1 "
                "or more"
            )


def dinosr_teacher(place: Path) -> Path | None:
    """Find the folder of a DinoSR teacher, if that is what the place leads to; another teacher is refused."""
    try:
        folder = find(place)
    except CheckpointError:
        return None
    if folder and not any((folder / name).is_file() for name in ("dinosr.json", STUDENT)):
        raise ConfigError(
            f"{place} is a teacher of another kind: of teachers, only a DinoSR one can be pruned"
        )
    return folder if folder and (folder / "dinosr.json").is_file() else None


def prune_teacher_config(
    folder: Path,
    target: Target,
    *,
    importance: str = "taylor",
    rounds: int = 3,
    steps: int = 600,
    seed: int = 0,
    overrides: tuple[str, ...] = (),
) -> PruneTeacherConfig:
    """Make the configuration of a run; crops and masks are those that the teacher learned from."""
    if target.speedup:
        raise ConfigError("--speedup is for students: give --target-params or --target-macs for a teacher")
    target.check(teacher_cost(load_teacher(folder).config))
    file = folder.parent / "config.toml"
    taught = read_toml(file) if file.is_file() else {}
    values: dict[str, Any] = {name: taught[name] for name in ("data", "mask") if name in taught}
    values |= {"start": str(folder), "importance": importance, "target": dataclasses.asdict(target)}
    values |= {"rounds": rounds, "steps": steps, "seed": seed}
    override(values, overrides)
    return build(PruneTeacherConfig, values, f"the recipe of {folder}")


@dataclass(frozen=True)
class Recovered:
    """What one batch cost: the loss summed over its frames."""

    loss_sum: Tensor


class Recovery(nn.Module):
    """A pruned teacher beside what it was; `layers` says by number from 0 which of its layers are left.

    L = mean over layers of mean |h - h'| + 1 - cos(h, h'): DPHuBERT's without projections, as widths agree.
    """

    def __init__(self, pruned: DinoSR, before: DinoSR, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.pruned, self.layers = pruned, layers
        pruned.heads.requires_grad_(requires_grad=False)
        pruned.teacher = copy.deepcopy(before.teacher)  # whose codes its own loss predicts
        self._before = [before.eval()]  # in a list: neither trained nor saved with the rest

    @torch.no_grad()
    def to_learn(self, audio: Tensor) -> Tensor:
        """Give the whole teacher's hidden states. (batch, samples) -> (layers, batch, time, dim)."""
        whole = self._before[0].to(audio.device)
        trace = encode(whole.student.encoder, whole.front_end(audio))
        return torch.stack([trace.layers[k] for k in self.layers])

    def forward(self, audio: Tensor, targets: Tensor) -> Recovered:
        """Teach one batch. audio: (batch, samples), standardised."""
        made = torch.stack(encode(self.pruned.student.encoder, self.pruned.front_end(audio)).layers)
        error = (made - targets).abs().mean() + 1 - F.cosine_similarity(made, targets, dim=-1).mean()
        return Recovered(error * made.shape[1] * made.shape[2])


class _Recovering:
    """How a pruned teacher learns within the training loop: crops of a common length."""

    def __init__(self, config: PruneTeacherConfig, corpus: Corpus, module: Recovery) -> None:
        self.config, self.corpus, self.module = config, corpus, module

    def batches(self, rank: int, world: int, start: int) -> Iterator[Batch]:
        return crop_batches(
            self.corpus, self.config.data, seed=self.config.seed, rank=rank, world=world, start=start
        )

    def prepare(
        self, batch: Batch, rng: np.random.Generator, watch: Stopwatch
    ) -> tuple[tuple[Tensor, Tensor], float]:
        del rng  # nothing is left to chance
        audio = standardise(batch.audio.to(next(self.module.parameters()).device))
        targets = self.module.to_learn(audio)
        watch.lap("teacher")
        return (audio, targets), float(targets.shape[1] * targets.shape[2])

    def stepped(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def restored(self, step: int) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"layers": list(self.module.layers), "ffn_dim": self.module.pruned.config.ffn_dim}

    def show(self, progress: Progress, output: Recovered) -> Progress:
        del output
        return progress


def prune_teacher(
    config: PruneTeacherConfig, corpus: Corpus, out: Path, *, report: Report, say: Say
) -> Pruned:
    """Prune in the run folder `out`, going on where it was stopped; the result is in its `teacher`."""
    begin(config, out)
    training, held = hold_out(corpus)
    before = load_teacher(Path(config.start))
    models, layers = [before], tuple(range(before.config.depth))
    for number in range(1, config.rounds + 1):
        folder, steps = round_folder(out, number), steps_of(number, config.rounds, config.steps)
        pruned, layers = _begun(folder, before) or _pruned(config, training, models, layers, number)
        say(
            f"round {number} of {config.rounds}: {pruned.config.depth} layers with "
            f"{pruned.config.ffn_dim} inner channels"
        )
        learner = _Recovering(config, training, Recovery(pruned, before, layers))
        run = Training(dataclasses.replace(config, steps=steps), learner, folder, say)
        run.train(corpus.skipped if number == 1 else (), report)
        models.append(settled(pruned.cpu(), before.cpu()))
    save_teacher(models[-1], out / "teacher", {"run": out.name, "pruned_from": config.start})
    say("measuring time and quality")
    made = Pruned(out / "teacher", _rows([each.cpu() for each in models], training, held))
    made.keep(out)
    return made


def _begun(folder: Path, before: DinoSR) -> tuple[DinoSR, tuple[int, ...]] | None:
    """Give the shape of a round that has a checkpoint; its weights are read from there later."""
    saved = checkpoint.saved(folder / "checkpoints")
    if not saved:
        return None
    state = checkpoint.load(saved[-1]).state
    shape = dataclasses.replace(before.config, depth=len(state["layers"]), ffn_dim=state["ffn_dim"])
    return DinoSR(shape), tuple(state["layers"])


def _pruned(
    config: PruneTeacherConfig, corpus: Corpus, models: list[DinoSR], layers: tuple[int, ...], number: int
) -> tuple[DinoSR, tuple[int, ...]]:
    """Prune the last of the models as far as a round goes. layers: those it has of the first one."""
    budget = budget_of(config.target, teacher_cost(models[0].config))
    learner = _Recovering(config, corpus, Recovery(models[-1], models[0], layers))
    made, kept = smaller(
        models[-1],
        _scores(learner, config),
        lambda shape: budget.spent(teacher_cost(shape)),
        budget.after(number, config.rounds),
    )
    return made, tuple(layers[k] for k in kept)


def _scores(learner: _Recovering, config: PruneTeacherConfig) -> dict[str, Tensor]:
    """Score the encoder's weights by name.

    Taylor's absolute value is that of each weight. Of the sum over what goes together, as for a student, it
    chose worse where a layer had to go: a higher loss at 60 % in three teachers of three.
    """
    module = learner.module
    weights = dict(module.pruned.student.named_parameters())
    if config.importance == "magnitude":
        return {name: weight.detach().abs() for name, weight in weights.items()}
    if config.importance == "random":
        return _lots(module.pruned, config.seed)
    module.to(processes().device).eval()
    scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    batches = learner.batches(0, 1, 0)
    for number in range(config.calibration_batches):
        audio = standardise(next(batches).audio.to(processes().device))
        rng = np.random.default_rng([config.seed, number])
        frames = module.pruned.config.frames(audio.shape[1])
        mask = torch.from_numpy(span_mask(len(audio), frames, config.mask, rng)).to(audio.device)
        module.zero_grad()
        output = module.pruned(audio, mask)
        (output.loss_sum / output.masked).backward()
        for name, weight in weights.items():
            if weight.grad is not None:
                scores[name] += (weight.detach() * weight.grad).abs()
    module.zero_grad()
    module.cpu()
    return {name: score.cpu() for name, score in scores.items()}


def _lots(model: DinoSR, seed: int) -> dict[str, Tensor]:
    """Draw scores: alike for the weights of a channel, and for all weights of a layer that are in none."""
    generator = torch.Generator().manual_seed(seed)
    scores = {}
    for name, weight in model.student.named_parameters():
        scores[name] = torch.full_like(weight, float(torch.rand((), generator=generator)))
    for group in layer_groups(model):
        drawn = torch.rand(group.channels, generator=generator)
        for each in group.slices:
            by_index = scores[each.name].movedim(each.axis, 0)
            by_index[each.rows.flatten()] = drawn.view(-1, *[1] * (by_index.ndim - 1)).expand_as(by_index)
    return scores


def _rows(models: list[DinoSR], training: Corpus, held: Corpus) -> tuple[Row, ...]:
    times = _times(models)
    quality = _quality(models, training, held)
    rows = []
    for name, model, milliseconds, kept in zip(names(len(models)), models, times, quality, strict=True):
        config, counted = model.config, teacher_cost(model.config)
        rows.append(
            Row(
                name=name,
                depth=config.depth,
                inner_dims=(config.ffn_dim,) * config.depth,
                block_heads=(config.heads,) * config.depth,
                parameters=counted.parameters,
                multiply_adds=counted.multiply_adds,
                milliseconds=round(milliseconds, 3),
                speed=round(times[0] / milliseconds, 3),
                quality=kept,
            )
        )
    return tuple(rows)


def _times(models: list[DinoSR]) -> list[float]:
    """Median milliseconds of each encoder in torch on one thread, in turns."""
    audio = torch.randn(1, SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    taken: list[list[float]] = [[] for _ in models]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(1 + TURNS):
            for model, times in zip(models, taken, strict=True):
                begun = perf_counter()
                encode(model.student.encoder, model.front_end(audio))
                times.append(1000 * (perf_counter() - begun))
    torch.set_num_threads(threads)
    return [median(times[1:]) for times in taken]


def _quality(models: list[DinoSR], training: Corpus, held: Corpus) -> list[dict[str, float]]:
    """Probe each as a student of the first is probed; where no one is held out there are no probes."""
    data = SegmentConfig(max_seconds=8.0)
    works = [
        TeacherAtWork(Teacher("pruned", model.student, epsilon=DINOSR_EPSILON), Path(), torch.device("cpu"))
        for model in models
    ]
    retention = Retention.prepare(training, held, data, works[:1]) if held.clips else None
    if retention is None:
        return [{} for _ in models]
    parts = (retention.train, retention.held)
    return [retention.kept(*(layers_of(work, batches) for batches in parts)) for work in works]
