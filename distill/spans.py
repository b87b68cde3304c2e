"""Word-sized spans of frames: what utterance embeddings are trained on beside whole clips.

A span is embedded twice: pooled from the frames of its clip, where these have heard what comes before and
after, and cut out and run through the student alone, as a user's short recording would be.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from earkit.distill.data.augment import change_speed
from earkit.distill.data.batches import pad
from earkit.distill.front_end import FRAME
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class SpanConfig:
    """How many spans of a clip are drawn in a step, and how long they are, evenly on a logarithmic scale."""

    per_clip: int = 6
    min_seconds: float = 0.2
    max_seconds: float = 1.2
    parts: int = 4
    """Equal parts of a span whose means, side by side, are a teacher's vector of it."""
    speed: tuple[float, float] = (0.8, 1.25)
    """Range of factors by which a cut is played faster and higher; 1 and 1 leave it as it is."""

    def __post_init__(self) -> None:
        least = FRAME / SAMPLE_RATE
        if min(self.per_clip, self.parts) < 1 or not least <= self.min_seconds <= self.max_seconds:
            raise ConfigError(
                "spans.per_clip and spans.parts must be at least 1, and spans.min_seconds from "
                f"{least:g} to spans.max_seconds"
            )
        if not 0 < self.speed[0] <= self.speed[1]:
            raise ConfigError(f"spans.speed is {self.speed}: give two factors above 0, the smaller one first")


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


def played(
    cuts: Tensor, lengths: Tensor, config: SpanConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Play each cut faster and higher or slower and deeper, as another voice would; what is said stays.

    The order of sounds and their shares of the span are the same, so the teacher's vector still holds.
    """
    low, high = (math.log(factor) for factor in config.speed)
    factors = np.exp(rng.uniform(low, high, len(cuts)))
    rows = zip(cuts.numpy(), lengths.tolist(), factors.tolist(), strict=True)
    made, sizes = pad([change_speed(cut[:size], factor) for cut, size, factor in rows])
    return torch.from_numpy(made), torch.from_numpy(sizes)


def cut_out(audio: Tensor, lengths: Tensor, spans: Spans) -> tuple[Tensor, Tensor]:
    """Cut the samples of each span. audio: (batch, samples) -> (n, most samples) and (n,) that count."""
    start = spans.frames[:, 0] * FRAME
    size = torch.minimum(spans.counted.sum(1) * FRAME, lengths[spans.row] - start)
    at = torch.arange(int(size.max()), device=audio.device)
    inside = at < size[:, None]
    return audio[spans.row[:, None], torch.where(inside, start[:, None] + at, 0)] * inside, size


def whole(valid: Tensor) -> Spans:
    """Take each clip as one span. valid: (batch, time), true at the beginning of each row."""
    batch, time = valid.shape
    frames = torch.arange(time, device=valid.device).expand(batch, time)
    return Spans(torch.arange(batch, device=valid.device), frames, valid)


def ordered_means(x: Tensor, spans: Spans, valid: Tensor, parts: int) -> Tensor:
    """Means over equal parts of each span, side by side: a span's vector that keeps its order.

    x: (batch, time, dim); valid: (batch, time), frames that count -> (n, parts * dim); a part without a frame
    is zero.
    """
    position = spans.counted.cumsum(1) - 0.5
    part = (position * parts / spans.counted.sum(1, keepdim=True)).long()
    counted = spans.counted & valid[spans.row[:, None], spans.frames]
    inside = (part[:, None] == torch.arange(parts, device=x.device)[:, None]) & counted[:, None]
    sums = inside.to(x.dtype) @ spans.of(x)  # (n, parts, dim)
    return (sums / inside.sum(2, keepdim=True).clamp(min=1)).flatten(1)
