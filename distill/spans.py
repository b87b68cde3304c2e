"""Word-sized spans of frames: what utterance embeddings are trained on beside whole clips.

A span is embedded twice: pooled from the frames of its clip, where these have heard what comes before and
after, and cut out and run through the student alone, as a user's short recording would be.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from earkit.distill.front_end import FRAME
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class SpanConfig:
    """How many spans of a clip are drawn in a step, and how long they are, evenly on a logarithmic scale."""

    per_clip: int = 3
    min_seconds: float = 0.2
    max_seconds: float = 1.2

    def __post_init__(self) -> None:
        if self.per_clip < 1 or not FRAME / SAMPLE_RATE <= self.min_seconds <= self.max_seconds:
            raise ConfigError(
                f"spans.per_clip must be at least 1 and spans.min_seconds from {FRAME / SAMPLE_RATE:g} up to "
                "spans.max_seconds"
            )


@dataclass(frozen=True)
class Spans:
    """Some spans of a batch. row: (n,) the clip; frames: (n, most) indices of its frames; counted: (n, most).

    Frames of a shorter span are repeated at its end and do not count.
    """

    row: Tensor
    frames: Tensor
    counted: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Take the spans out of (batch, time, dim). -> (n, most, dim)."""
        return x[self.row[:, None], self.frames]

    def to(self, device: torch.device) -> "Spans":
        """Move to a device."""
        return Spans(self.row.to(device), self.frames.to(device), self.counted.to(device))


def draw_spans(frames: Tensor, config: SpanConfig, rng: np.random.Generator) -> Spans:
    """Draw spans of clips with so many frames each; of a shorter clip, all of it. frames: (batch,)."""
    rows = np.repeat(np.arange(len(frames)), config.per_clip)
    there = frames.numpy()[rows]
    least, most = (seconds * SAMPLE_RATE / FRAME for seconds in (config.min_seconds, config.max_seconds))
    wanted = np.exp(rng.uniform(math.log(least), math.log(most), len(rows)))
    sizes = np.minimum(np.maximum(np.round(wanted).astype(np.int64), 1), there)
    starts = (rng.random(len(rows)) * (there - sizes + 1)).astype(np.int64)
    steps = np.arange(int(sizes.max()))
    indices = starts[:, None] + np.minimum(steps, sizes[:, None] - 1)
    return Spans(torch.from_numpy(rows), torch.from_numpy(indices), torch.from_numpy(steps < sizes[:, None]))


def cut_out(audio: Tensor, lengths: Tensor, spans: Spans) -> tuple[Tensor, Tensor]:
    """Cut the samples of each span. audio: (batch, samples) -> (n, most samples) and (n,) that count."""
    start = spans.frames[:, 0] * FRAME
    size = torch.minimum(spans.counted.sum(1) * FRAME, lengths[spans.row] - start)
    at = torch.arange(int(size.max()), device=audio.device)
    inside = at < size[:, None]
    return audio[spans.row[:, None], torch.where(inside, start[:, None] + at, 0)] * inside, size


def mean_of(x: Tensor, spans: Spans, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the valid frames of each span, and which have any. x: (batch, time, dim) -> (n, dim), (n,)."""
    counted = spans.counted & valid[spans.row[:, None], spans.frames]
    mean = (spans.of(x) * counted[:, :, None]).sum(1) / counted.sum(1, keepdim=True).clamp(min=1)
    return mean, counted.any(1)
