"""What a distillation run would take, measured on noise without running it."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from earkit.distill.device import choose
from earkit.distill.distillation import DistilConfig
from earkit.distill.student import Student
from earkit.distill.teachers.resolve import load_teacher_by_name
from earkit.runtime.audio import SAMPLE_RATE

SECONDS = 4.0
"""Length of the clips of noise."""


@dataclass(frozen=True)
class DistilPlan:
    """Figures of `kit distill --dry-run`."""

    placement: str
    student: str
    parameters: int
    multiply_adds_per_second: int
    """Of one forward pass, per second of audio."""
    lookahead_ms: float
    """How much later than its end a frame is known."""
    context_seconds: float
    """How far back a frame depends on the audio."""
    teachers: dict[str, float]
    """Audio seconds per second that each teacher does on this machine."""
    audio_seconds_per_step: float
    timed_step_seconds: float
    """Student alone: forward on segments and on what is cut out, and backward, scaled to a whole batch."""
    steps: int
    hours: float


def dry_run(config: DistilConfig) -> DistilPlan:
    """Time the student and its teachers."""
    accelerator, placement = choose(config.precision)
    torch.manual_seed(config.seed)
    student = Student(config.student).to(accelerator.device)
    audio = torch.randn(2, int(SECONDS * SAMPLE_RATE), device=accelerator.device) / 10
    seconds = len(audio) * SECONDS
    step_seconds = _timed(student, audio) * config.data.batch_seconds / seconds * config.optim.accumulate
    steps = config.steps if not config.hours else int(config.hours * 3600 / step_seconds)
    return DistilPlan(
        placement=placement,
        student=f"{config.student.size}, {config.student.depth} blocks ({config.student.block})"
        f" of width {config.student.dim}",
        parameters=sum(p.numel() for p in student.parameters()),
        multiply_adds_per_second=round(multiply_adds(student, audio[:1]) / SECONDS),
        lookahead_ms=1000 * config.student.lookahead / SAMPLE_RATE,
        context_seconds=config.student.context_frames * 0.04,
        teachers={t.name: round(seconds / _timed_teacher(t.name, audio), 1) for t in config.teachers},
        audio_seconds_per_step=config.data.batch_seconds * config.optim.accumulate,
        timed_step_seconds=step_seconds,
        steps=steps,
        hours=config.hours or steps * step_seconds / 3600,
    )


def multiply_adds(student: Student, audio: Tensor, depth: int | None = None) -> float:
    """Count those of one forward pass over audio (1, samples); the front end's are among them."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        student(audio, _lengths(audio), depth=depth)
    return float(counter.get_total_flops()) / 2


def _timed(student: Student, audio: Tensor) -> float:
    """Second of two steps; a step runs about half the audio again, as cut-out spans."""
    cuts = audio[:, : audio.shape[1] // 2]
    for _ in range(2):
        begun = time.perf_counter()
        made = [student(x, _lengths(x)).hidden[-1].square().mean() for x in (audio, cuts)]
        torch.autograd.backward(torch.stack(made).sum())
        made[0].item()  # waits for a GPU
    return time.perf_counter() - begun


def _timed_teacher(name: str, audio: Tensor) -> float:
    teacher = load_teacher_by_name(name)[0].to(audio.device)
    for _ in range(2):
        begun = time.perf_counter()
        with torch.no_grad():
            teacher.features(audio, _lengths(audio), [teacher.layers] if teacher.layers else [])
    return time.perf_counter() - begun


def _lengths(audio: Tensor) -> Tensor:
    return torch.full((len(audio),), audio.shape[1], device=audio.device)
