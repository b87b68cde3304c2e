"""The one training loop, on accelerate, that resumes exactly; what is trained is a `Learner`.

Batch n, and the random numbers of step n (masks, dropout, dropped layers), are functions of (seed, n, rank)
alone. So the random state that a checkpoint must hold is the seed and the step, and a run that was killed
ends in the same weights, bit for bit on a CPU, as one that was not.
"""

import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from earkit.distill import checkpoint as checkpoints
from earkit.distill.data.corpus import Skipped, SkippedLog
from earkit.distill.device import Precision, choose
from earkit.distill.schedule import OptimConfig, tri_stage
from earkit.distill.stopwatch import Stopwatch
from earkit.runtime.atomic import append, write_text
from earkit.runtime.errors import CheckpointError, ConfigError, NonFiniteLossError, StepTooLargeError


@dataclass(frozen=True)
class LoopConfig:
    """What any training run is told; its configuration adds the rest."""

    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    steps: int = 1000
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


@dataclass(frozen=True)
class Progress:
    """What any step shows; every `log_every`-th goes to `metrics.jsonl`."""

    step: int
    steps: int
    loss: float
    lr: float
    grad_norm: float
    audio_seconds: float
    audio_per_second: float
    elapsed: float
    eta: float
    skipped: int
    phases: dict[str, float]
    """Seconds per phase since the last report."""


Say = Callable[[str], None]


class Batch(Protocol):
    """What the loop reads of a batch."""

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def skipped(self) -> tuple[Skipped, ...]: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102


class Output(Protocol):
    """What a module's forward gives: the sum of the loss over the units that `Learner.prepare` counted."""

    @property
    def loss_sum(self) -> Tensor: ...  # noqa: D102


B = TypeVar("B", bound=Batch)
Out = TypeVar("Out", bound=Output)
Seen_contra = TypeVar("Seen_contra", bound=Output, contravariant=True)
P_co = TypeVar("P_co", bound=Progress, covariant=True)


class Learner(Protocol[B, Seen_contra, P_co]):
    """A model and how it learns."""

    @property
    def module(self) -> nn.Module:
        """Maps what `prepare` gave to an `Output`; all its state is saved."""
        ...

    def batches(self, rank: int, world: int, start: int) -> Iterator[B]:
        """Yield batch number `start` and all that follow."""
        ...

    def prepare(self, batch: B, rng: np.random.Generator, watch: Stopwatch) -> tuple[tuple[Any, ...], float]:
        """Give the module's inputs, and how many units its loss is the sum over."""
        ...

    def stepped(self) -> None:
        """Do what follows an optimizer step."""
        ...

    def finish(self) -> None:
        """Do what follows the last step, before it is saved."""
        ...

    def restored(self, step: int) -> None:
        """Take over the step of a checkpoint whose tensors are in the module already."""
        ...

    def state(self) -> dict[str, Any]:
        """Describe what a reader of the checkpoint may want to know, in JSON."""
        ...

    def show(self, progress: Progress, output: Seen_contra) -> P_co:
        """Add what this kind of training shows."""
        ...


class Training(Generic[B, Out, P_co]):
    """A learner, its optimizer and its position, in this process."""

    def __init__(self, config: LoopConfig, learner: Learner[B, Out, P_co], out: Path, say: Say) -> None:
        self.config = config
        self.learner = learner
        self.out = out
        self.step = 0
        self.elapsed = 0.0
        self.audio_seconds = 0.0
        self.accelerator, placement = choose(config.precision)
        self.say: Say = say if self.accelerator.is_main_process else lambda _: None
        self.say(f"training on {placement}")
        optim = config.optim
        self.trained = [p for p in learner.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=0.0, betas=optim.betas, eps=optim.eps, weight_decay=optim.weight_decay
        )
        learner.module.to(self.accelerator.device)
        self._resume()
        self.wrapped = self.accelerator.prepare_model(learner.module)
        if self.step:
            complete = "complete already" if self.progress >= 1 else f"resuming from {out / 'checkpoints'}"
            self.say(f"{complete}, at step {self.step}")

    @property
    def compiles(self) -> bool:
        """Whether layers are to be compiled."""
        return self.config.compile == "on" or (
            self.config.compile == "auto" and self.accelerator.device.type == "cuda"
        )

    def _resume(self) -> None:
        folders = checkpoints.saved(self.out / "checkpoints")
        if not folders:
            return
        saved = checkpoints.load(folders[-1])
        module = self.learner.module
        try:
            module.load_state_dict(saved.model)
            checkpoints.restore_optimizer(self.optimizer, saved.optimizer, module.named_parameters())
            self.step = int(saved.state["step"])
            self.elapsed = float(saved.state["elapsed"])
            self.audio_seconds = float(saved.state["audio_seconds"])
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folders[-1]} does not fit this configuration ({str(error).splitlines()[0]}): "
                "delete it to resume from the one before, or use --fresh"
            ) from error
        self.learner.restored(self.step)

    def save(self) -> None:
        """Write a checkpoint (main process only)."""
        if not self.accelerator.is_main_process:
            return
        module = self.learner.module
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        state = {
            "step": self.step,
            "elapsed": self.elapsed,
            "audio_seconds": self.audio_seconds,
            "seed": self.config.seed,
            "batch": self.step * self.config.optim.accumulate,
            "processes": self.accelerator.num_processes,
            "torch": torch.__version__,
            **self.learner.state(),
        }
        optimizer = checkpoints.optimizer_tensors(self.optimizer, names)
        whole = checkpoints.Checkpoint(module.state_dict(), optimizer, state)
        checkpoints.save(self.out / "checkpoints", self.step, whole, self.config.keep)

    @property
    def progress(self) -> float:
        """Share of the run that is done, by steps or by the clock."""
        if self.config.hours:
            return self.elapsed / (self.config.hours * 3600)
        return self.step / self.config.steps

    def train(self, skipped_before: tuple[Skipped, ...], report: Callable[[P_co], None]) -> None:
        """Step until done."""
        config, accelerator = self.config, self.accelerator
        main = accelerator.is_main_process
        batches = self.learner.batches(
            accelerator.process_index, accelerator.num_processes, self.step * config.optim.accumulate
        )
        metrics = self.out / "metrics.jsonl"
        skipped = SkippedLog(self.out / "skipped.jsonl")
        if main:
            _truncate(metrics, self.step)
            skipped.add(skipped_before)
        interrupted: list[int] = []
        watch = Stopwatch()
        self.wrapped.train()
        begun = time.perf_counter() - self.elapsed
        with _interruptible(interrupted, single=accelerator.num_processes == 1):
            done = self._done()
            while not done:
                _seed(config.seed, self.step, accelerator.process_index)
                micro = [next(batches) for _ in range(config.optim.accumulate)]
                if main:
                    skipped.add(s for batch in micro for s in batch.skipped)
                watch.lap("data")
                output, loss, grad_norm, lr = self._guarded_step(micro, watch)
                self.audio_seconds += sum(b.seconds for b in micro) * accelerator.num_processes
                self.elapsed = time.perf_counter() - begun
                done = self._done()
                if main and (self.step % config.log_every == 0 or done or self.step == 1):
                    progress = self._progress(loss, grad_norm, lr, len(skipped), watch.take())
                    shown = self.learner.show(progress, output)
                    append(metrics, json.dumps(dataclasses.asdict(shown)) + "\n")
                    report(shown)
                if done:
                    self.learner.finish()
                if self.step % config.save_every == 0 or done or interrupted:
                    self.save()
                watch.lap("log")
                if interrupted:
                    self.say(f"stopped at step {self.step}; the same command goes on from there")
                    raise KeyboardInterrupt

    def _done(self) -> bool:
        """With a clock, the processes must stop at the same step: the first one's clock counts."""
        if self.config.hours and self.accelerator.num_processes > 1:
            shared = torch.tensor([self.elapsed], dtype=torch.float64, device=self.accelerator.device)
            torch.distributed.broadcast(shared, src=0)
            self.elapsed = float(shared)
        return self.progress >= 1

    def _guarded_step(self, micro: list[B], watch: Stopwatch) -> tuple[Out, float, float, float]:
        try:
            return self._step(micro, watch)
        except torch.OutOfMemoryError as error:
            raise StepTooLargeError(
                f"a step of {max(b.seconds for b in micro):.0f} s of audio does not fit into memory: lower "
                "data.batch_seconds and raise optim.accumulate by the same factor; see --dry-run"
            ) from error

    def _step(self, micro: list[B], watch: Stopwatch) -> tuple[Out, float, float, float]:
        """One optimizer step over `accumulate` batches: last output, loss, gradient norm, learning rate."""
        accelerator, config = self.accelerator, self.config
        prepared = [self.learner.prepare(batch, self._rng(i), watch) for i, batch in enumerate(micro)]
        counted = max(self._over_processes(sum(weight for _, weight in prepared)), 1.0)
        loss_sum = torch.zeros((), device=accelerator.device)
        for i, (inputs, _) in enumerate(prepared):
            last = i + 1 == len(micro)
            synced: AbstractContextManager[Any] = nullcontext() if last else accelerator.no_sync(self.wrapped)
            with synced, accelerator.autocast():
                output: Out = self.wrapped(*inputs)
                watch.lap("forward")
                # Processes average their gradients; the mean over all that counts is wanted.
                accelerator.backward(output.loss_sum * (accelerator.num_processes / counted))
                watch.lap("backward")
            loss_sum += output.loss_sum.detach()
        loss = self._over_processes(float(loss_sum)) / counted
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
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained, limit))
        self.optimizer.step()
        self.optimizer.zero_grad()
        watch.lap("optimizer")
        self.learner.stepped()
        self.step += 1
        watch.lap("ema")
        return output, loss, norm, lr

    def _rng(self, micro: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, self.step, micro, self.accelerator.process_index])

    def _over_processes(self, value: float) -> float:
        if self.accelerator.num_processes == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.all_reduce(total)
        return float(total)

    def _progress(
        self, loss: float, grad_norm: float, lr: float, skipped: int, phases: dict[str, float]
    ) -> Progress:
        left = (1 - self.progress) / self.progress if self.progress else 0.0
        return Progress(
            step=self.step,
            steps=self.config.steps if not self.config.hours else 0,
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            audio_seconds=round(self.audio_seconds, 2),
            audio_per_second=round(self.audio_seconds / self.elapsed, 2),
            elapsed=round(self.elapsed, 2),
            eta=round(self.elapsed * left, 1),
            skipped=skipped,
            phases={name: round(seconds, 4) for name, seconds in phases.items()},
        )


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
