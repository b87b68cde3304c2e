"""Masked student frames predict the unmasked teacher's features there (data2vec, Baevski et al. 2022)."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.masking import MaskConfig, span_mask
from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets, mean_over
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class MaskedConfig:
    """`weight` of the loss among the others, 0 is off; `probability` is the mass of span starts."""

    weight: float = 0.0
    probability: float = 0.4
    length: int = 6
    """Frames of the student in a span."""
    layers: int = 0
    """Targets are the mean of so many teacher layers, the highest of the layer map; 0 is all of them."""
    error: Literal["squared", "smooth_l1"] = "squared"

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ConfigError(f"masked.weight must be 0 or more, not {self.weight}")
        if not 0 < self.probability <= 1:
            raise ConfigError(f"masked.probability must be above 0 and at most 1, not {self.probability}")
        if self.length < 1:
            raise ConfigError(f"masked.length must be at least 1, not {self.length}")
        if self.layers < 0:
            raise ConfigError(f"masked.layers must be 0 or more, not {self.layers}")
        if self.error not in {"squared", "smooth_l1"}:
            raise ConfigError(f"masked.error must be squared or smooth_l1, not {self.error}")


def draw(config: MaskedConfig, valid: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw the frames to mask among the valid ones. valid: (batch, time) -> the same shape.

    Each clip is drawn for its own length, so padding changes nothing; one frame alone stays visible.
    """
    spans = MaskConfig(config.probability, config.length)
    masked = torch.zeros_like(valid, device="cpu")
    for row, there in zip(masked, valid.cpu(), strict=True):
        if (frames := int(there.sum())) > 1:
            row[there] = torch.from_numpy(span_mask(1, frames, spans, rng)[0])
    return masked.to(valid.device)


def normalise(frames: Tensor, valid: Tensor) -> Tensor:
    """Instance norm: zero mean and unit variance over the valid frames of a clip, for each channel."""
    counted = valid.unsqueeze(-1)
    number = counted.sum(1, keepdim=True).clamp(min=1)
    centred = frames - (frames * counted).sum(1, keepdim=True) / number
    variance = (centred.square() * counted).sum(1, keepdim=True) / number
    return centred * torch.rsqrt(variance + 1e-5)


class Masked(nn.Module):
    """Predict the mean of the teacher's layers, each normalised over time (section 3.3), where it is masked.

    L = mean over masked valid frames of error(W h_student, target), eq. 2.
    """

    def __init__(self, config: MaskedConfig, shape: PairShape) -> None:
        super().__init__()
        layers = sorted({layer for _, layer in shape.layer_map})
        if not layers:
            raise ConfigError(
                "masked needs a teacher with frame features: set masked.weight to 0 for this one"
            )
        if config.layers > len(layers):
            raise ConfigError(
                f"masked.layers is {config.layers}, but the layer map has only {len(layers)} teacher layers"
            )
        self.layers = layers[-config.layers :]
        self.error = F.mse_loss if config.error == "squared" else F.smooth_l1_loss
        self.predict = nn.Linear(shape.student_dim, shape.teacher_dim)

    def needs(self) -> Needs:
        """Hidden states of the layers that make the target."""
        return Needs(hidden=frozenset(self.layers))

    def forward(self, student_masked: StudentTrace, teacher: Targets, masked: Tensor) -> Tensor:
        """Return the loss, without its weight among the others. masked: (batch, time), hidden frames."""
        valid = student_masked.valid & teacher.valid
        normalised = [normalise(teacher.hidden[layer].float(), valid) for layer in self.layers]
        target = torch.stack(normalised).mean(0)  # (batch, time, teacher dim)
        error = self.error(self.predict(student_masked.hidden[-1]).float(), target, reduction="none")
        return mean_over(error.mean(-1), masked & valid)
