"""Training a DinoSR teacher: one loop, on accelerate, that resumes exactly.

Batch n, its masks, and the random numbers of step n (dropout, dropped layers) are functions of
(seed, n, rank) alone. So the random state that a checkpoint must hold is the seed and the step, and a run
that was killed ends in the same weights, bit for bit on a CPU, as one that was not.
"""

import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from earkit.distill import checkpoint as checkpoints
from earkit.distill.config import build, override, read_toml, to_toml
from earkit.distill.data.batches import Batch, DataConfig, crop_batches
from earkit.distill.data.corpus import Corpus, SkippedLog
from earkit.distill.device import Precision, choose
from earkit.distill.dinosr import DinoSR, DinoSRConfig, DinoSROutput, save_teacher, standardise
from earkit.distill.masking import MaskConfig, span_mask
from earkit.distill.rankme import rankme
from earkit.distill.schedule import OptimConfig, tri_stage
from earkit.distill.stopwatch import Stopwatch
from earkit.runtime.atomic import append, write_text
from earkit.runtime.errors import CheckpointError, ConfigError, NonFiniteLossError, StepTooLargeError

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a pretraining run; written to `config.toml` in its folder."""

    model: DinoSRConfig = field(default_factory=DinoSRConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    steps: int = 400_000
    hours: float = 0.0
    """Wall hours of training over all resumes; when set, it ends the run and paces the learning rate."""
    seed: int = 0
    precision: Precision = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    save_every: int = 1000
    log_every: int = 20
    keep: int = 2

    def __post_init__(self) -> None:
        if self.steps < 1 or self.save_every < 1 or self.log_every < 1 or self.keep < 1 or self.hours < 0:
            raise ConfigError("steps, save_every, log_every and keep must be at least 1, hours at least 0")


def named_configs() -> list[str]:
    """Names that `load_config` knows."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Read a shipped configuration by name, or a TOML file, and apply `table.key=value` overrides."""
    path = CONFIGS / f"{name_or_path}.toml" if name_or_path in named_configs() else Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f"no configuration {name_or_path}: give a TOML file or one of {', '.join(named_configs())}"
        )
    values = read_toml(path)
    override(values, overrides)
    return build(PretrainConfig, values, name_or_path)


@dataclass(frozen=True)
class StepReport:
    """What one step showed; every `log_every`-th goes to `metrics.jsonl`."""

    step: int
    steps: int
    loss: float
    lr: float
    ema_decay: float
    grad_norm: float
    target_perplexity: list[float]
    prediction_perplexity: list[float]
    active_codes: list[int]
    rankme: float
    audio_seconds: float
    audio_per_second: float
    elapsed: float
    eta: float
    skipped: int
    phases: dict[str, float]
    """Seconds per phase since the last report."""


Report = Callable[[StepReport], None]
Say = Callable[[str], None]


def pretrain(config: PretrainConfig, corpus: Corpus, out: Path, *, report: Report, say: Say) -> Path:
    """Train into the run folder `out`, resuming from its newest checkpoint; returns the teacher folder."""
    accelerator, placement = choose(config.precision)
    if accelerator.is_main_process:
        say(f"training on {placement}")
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.toml", to_toml(config))
    run = _Run(config, accelerator, out)
    if run.step and accelerator.is_main_process:
        complete = "complete already" if run.progress >= 1 else f"resuming from {out / 'checkpoints'}"
        say(f"{complete}, at step {run.step}")
    run.train(corpus, report, say)
    folder = out / "teacher"
    if accelerator.is_main_process:
        provenance = {"run": out.name, "audio_seconds": run.audio_seconds, "clips": len(corpus.clips)}
        save_teacher(run.model, folder, provenance)
    accelerator.wait_for_everyone()
    return folder


@dataclass(frozen=True)
class _Step:
    """What one optimizer step showed; `output` is that of its last batch."""

    output: DinoSROutput
    loss: float
    grad_norm: float
    lr: float
    ema_decay: float


class _Run:
    """Model, optimizer and position of one run in this process."""

    def __init__(self, config: PretrainConfig, accelerator: Accelerator, out: Path) -> None:
        self.config = config
        self.accelerator = accelerator
        self.out = out
        self.step = 0
        self.elapsed = 0.0
        self.audio_seconds = 0.0
        torch.manual_seed(config.seed)
        self.model = DinoSR(config.model)
        optim = config.optim
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=0.0, betas=optim.betas, eps=optim.eps, weight_decay=optim.weight_decay
        )
        self.model.to(accelerator.device)
        self._resume()
        self.wrapped = accelerator.prepare_model(self.model)
        if config.compile == "on" or (config.compile == "auto" and accelerator.device.type == "cuda"):
            self.model.compile_layers()

    def _resume(self) -> None:
        folders = checkpoints.saved(self.out / "checkpoints")
        if not folders:
            return
        saved = checkpoints.load(folders[-1])
        try:
            self.model.load_state_dict(saved.model)
            checkpoints.restore_optimizer(self.optimizer, saved.optimizer, self.model.named_parameters())
            self.step = self.model.updates = int(saved.state["step"])
            self.elapsed = float(saved.state["elapsed"])
            self.audio_seconds = float(saved.state["audio_seconds"])
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folders[-1]} does not fit this configuration ({str(error).splitlines()[0]}): "
                "delete it to resume from the one before, or use --fresh"
            ) from error

    def save(self) -> None:
        """Write a checkpoint (main process only)."""
        if not self.accelerator.is_main_process:
            return
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        state = {
            "step": self.step,
            "elapsed": self.elapsed,
            "audio_seconds": self.audio_seconds,
            "seed": self.config.seed,
            "batch": self.step * self.config.optim.accumulate,
            "ema_decay": self.config.model.ema_decay(self.step),
            "processes": self.accelerator.num_processes,
            "torch": torch.__version__,
        }
        optimizer = checkpoints.optimizer_tensors(self.optimizer, names)
        whole = checkpoints.Checkpoint(self.model.state_dict(), optimizer, state)
        checkpoints.save(self.out / "checkpoints", self.step, whole, self.config.keep)

    @property
    def progress(self) -> float:
        """Share of the run that is done, by steps or by the clock."""
        if self.config.hours:
            return self.elapsed / (self.config.hours * 3600)
        return self.step / self.config.steps

    def train(self, corpus: Corpus, report: Report, say: Say) -> None:
        """Step until done."""
        config, accelerator = self.config, self.accelerator
        main = accelerator.is_main_process
        batches = crop_batches(
            corpus,
            config.data,
            seed=config.seed,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            start=self.step * config.optim.accumulate,
        )
        metrics = self.out / "metrics.jsonl"
        if main:
            _truncate(metrics, self.step)
        skipped = SkippedLog(self.out / "skipped.jsonl")
        if main:
            skipped.add(corpus.skipped)
        interrupted: list[int] = []
        watch = Stopwatch()
        self.wrapped.train()
        begun = time.perf_counter() - self.elapsed
        with _interruptible(interrupted, single=accelerator.num_processes == 1):
            while self._progress_agreed() < 1:
                _seed(config.seed, self.step, accelerator.process_index)
                micro = [next(batches) for _ in range(config.optim.accumulate)]
                if main:
                    skipped.add(s for batch in micro for s in batch.skipped)
                watch.lap("data")
                try:
                    step = self._step(micro, watch)
                except torch.OutOfMemoryError as error:
                    raise StepTooLargeError(
                        f"a step of {config.data.batch_seconds:g} s of audio does not fit into memory: lower "
                        "data.batch_seconds and raise optim.accumulate by the same factor; see --dry-run"
                    ) from error
                self.audio_seconds += sum(b.seconds for b in micro) * accelerator.num_processes
                self.elapsed = time.perf_counter() - begun
                done = self.progress >= 1
                if main and (self.step % config.log_every == 0 or done or self.step == 1):
                    shown = self._report(step, len(skipped), watch.take())
                    append(metrics, json.dumps(dataclasses.asdict(shown)) + "\n")
                    report(shown)
                if self.step % config.save_every == 0 or done or interrupted:
                    self.save()
                watch.lap("log")
                if interrupted:
                    say(f"stopped at step {self.step}; the same command goes on from there")
                    raise KeyboardInterrupt

    def _progress_agreed(self) -> float:
        """With a clock, the processes must stop at the same step: the first one's clock counts."""
        if not self.config.hours or self.accelerator.num_processes == 1:
            return self.progress
        shared = torch.tensor([self.elapsed], dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.broadcast(shared, src=0)
        self.elapsed = float(shared)
        return self.progress

    def _step(self, micro: list[Batch], watch: Stopwatch) -> _Step:
        """One optimizer step over `accumulate` batches per process."""
        accelerator, config = self.accelerator, self.config
        masks = [self._mask(batch, i) for i, batch in enumerate(micro)]
        masked = self._over_processes(float(sum(int(m.sum()) for m in masks)))
        loss_sum = torch.zeros((), device=accelerator.device)
        watch.lap("mask")
        for i, (batch, mask) in enumerate(zip(micro, masks, strict=True)):
            audio = standardise(batch.audio.to(accelerator.device, non_blocking=True))
            last = i + 1 == len(micro)
            synced: AbstractContextManager[Any] = nullcontext() if last else accelerator.no_sync(self.wrapped)
            with synced, accelerator.autocast():
                output: DinoSROutput = self.wrapped(audio, mask.to(accelerator.device))
                watch.lap("forward")
                # Processes average their gradients; the mean over all masked frames is wanted.
                accelerator.backward(output.loss_sum * (accelerator.num_processes / masked))
                watch.lap("backward")
            loss_sum += output.loss_sum.detach()
        loss = self._over_processes(float(loss_sum)) / masked
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss became {loss} at step {self.step + 1}; the batch held "
                f"{', '.join(name for b in micro for name in b.names)}; "
                "lower optim.lr or remove the file; the last checkpoint is intact"
            )
        lr = tri_stage(self.progress, config.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        limit = config.optim.clip_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        self.optimizer.step()
        self.optimizer.zero_grad()
        watch.lap("optimizer")
        decay = self.model.follow()
        self.step += 1
        watch.lap("ema")
        return _Step(output, loss, norm, lr, decay)

    def _mask(self, batch: Batch, micro: int) -> Tensor:
        rng = np.random.default_rng([self.config.seed, self.step, micro, self.accelerator.process_index])
        clips, samples = batch.audio.shape
        return torch.from_numpy(span_mask(clips, self.config.model.frames(samples), self.config.mask, rng))

    def _over_processes(self, value: float) -> float:
        if self.accelerator.num_processes == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.all_reduce(total)
        return float(total)

    def _report(self, step: _Step, skipped: int, phases: dict[str, float]) -> StepReport:
        left = (1 - self.progress) / self.progress if self.progress else 0.0
        return StepReport(
            step=self.step,
            steps=self.config.steps if not self.config.hours else 0,
            loss=step.loss,
            lr=step.lr,
            ema_decay=step.ema_decay,
            grad_norm=step.grad_norm,
            target_perplexity=_rounded(step.output.target_perplexity),
            prediction_perplexity=_rounded(step.output.prediction_perplexity),
            active_codes=self.model.codebooks.active().tolist(),
            rankme=round(rankme(step.output.frames), 2),
            audio_seconds=round(self.audio_seconds, 2),
            audio_per_second=round(self.audio_seconds / self.elapsed, 2),
            elapsed=round(self.elapsed, 2),
            eta=round(self.elapsed * left, 1),
            skipped=skipped,
            phases={name: round(seconds, 4) for name, seconds in phases.items()},
        )


def _rounded(values: Tensor) -> list[float]:
    return [round(float(v), 3) for v in values]


def _seed(seed: int, step: int, rank: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def _truncate(metrics: Path, step: int) -> None:
    """Drop the lines of steps that a killed run had made after its last checkpoint."""
    if metrics.exists():
        lines = metrics.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_text(metrics, "".join(line + "\n" for line in kept))


@contextmanager
def _interruptible(interrupted: list[int], *, single: bool) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a note, so that the step in progress ends and is saved.

    With several processes the launcher passes signals on at different steps: there they just end the run.
    """
    if not single:
        yield
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(s, lambda number, _: interrupted.append(number)) for s in wanted]
    try:
        yield
    finally:
        for s, handler in zip(wanted, before, strict=True):
            signal.signal(s, handler)
