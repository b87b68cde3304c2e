"""What a pretraining run would take, measured without running it."""

import time
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from earkit.distill.device import choose
from earkit.distill.dinosr import DinoSR, standardise
from earkit.distill.masking import span_mask
from earkit.distill.pretrain import PretrainConfig
from earkit.runtime.audio import SAMPLE_RATE

TIMED_SECONDS = 20.0


@dataclass(frozen=True)
class Plan:
    """Figures of `kit pretrain --dry-run`. Bytes are bytes; seconds are wall seconds."""

    placement: str
    parameters: int
    """Of the encoder that is kept: what a user of the teacher loads."""
    trained_parameters: int
    """With the prediction heads."""
    multiply_adds_per_second: int
    """Of one forward pass of the encoder, per second of audio, in clips of the configured length."""
    state_bytes: int
    """Weights, gradients, Adam's two moments, EMA teacher, codebooks."""
    activation_bytes_per_second: int
    """Kept for the backward pass, per second of audio in a batch."""
    step_bytes: int
    available_bytes: int
    audio_seconds_per_step: float
    timed_step_seconds: float
    """A step of the configured size, scaled from two timed ones of at most 20 seconds of audio."""
    steps: int
    hours: float

    @property
    def fits(self) -> bool:
        """Whether one step should fit into memory."""
        return self.step_bytes < self.available_bytes


def dry_run(config: PretrainConfig) -> Plan:
    """Measure one forward pass and two training steps on noise, and extrapolate."""
    accelerator, placement = choose(config.precision)
    torch.manual_seed(config.seed)
    model = DinoSR(config.model).to(accelerator.device).train()
    clip = min(config.data.max_seconds, TIMED_SECONDS, config.data.batch_seconds)
    clips = max(1, int(min(TIMED_SECONDS, config.data.batch_seconds) / clip))
    audio = standardise(torch.randn(clips, int(clip * SAMPLE_RATE), device=accelerator.device))
    seconds = clips * clip
    mask = torch.from_numpy(
        span_mask(clips, config.model.frames(audio.shape[1]), config.mask, np.random.default_rng(config.seed))
    ).to(accelerator.device)
    multiply_adds = _multiply_adds(model, audio[:1]) / clip
    activations = _activation_bytes(model, audio, mask) / seconds
    with accelerator.autocast():
        step_seconds = _timed_step(model, audio, mask, config) * config.data.batch_seconds / seconds
    step_seconds *= config.optim.accumulate
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    state = everything + 3 * 4 * trained
    steps = config.steps if not config.hours else int(config.hours * 3600 / step_seconds)
    return Plan(
        placement=placement,
        parameters=sum(p.numel() for p in model.student.parameters()),
        trained_parameters=trained,
        multiply_adds_per_second=round(multiply_adds),
        state_bytes=state,
        activation_bytes_per_second=round(activations),
        step_bytes=round(state + activations * config.data.batch_seconds),
        available_bytes=_available(accelerator.device),
        audio_seconds_per_step=config.data.batch_seconds
        * config.optim.accumulate
        * accelerator.num_processes,
        timed_step_seconds=step_seconds,
        steps=steps,
        hours=config.hours or steps * step_seconds / 3600,
    )


def _multiply_adds(model: DinoSR, audio: Tensor) -> float:
    # Attention as plain matrix products, which the counter sees on every device.
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        counter = FlopCounterMode(display=False)
        model.eval()
        with counter:
            model.student(audio)
        model.train()
    return float(counter.get_total_flops()) / 2


def _activation_bytes(model: DinoSR, audio: Tensor, mask: Tensor) -> int:
    """Bytes that autograd keeps between forward and backward, each storage once."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    held = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(audio, mask)
    output.loss_sum.backward()
    model.zero_grad()
    return sum(kept.values())


def _timed_step(model: DinoSR, audio: Tensor, mask: Tensor, config: PretrainConfig) -> float:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=config.optim.lr)
    times = []
    for _ in range(3):  # the first one warms up
        begun = time.perf_counter()
        output = model(audio, mask)
        (output.loss_sum / output.masked).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.follow()
        output.loss_sum.item()  # waits for a GPU
        times.append(time.perf_counter() - begun)
    return float(np.mean(times[1:]))


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().available)
