"""Span masking as wav2vec 2.0 and DinoSR do it: some frames start a masked span, spans may overlap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MaskConfig:
    """`probability` is the mass of span starts: probability * frames / length spans are drawn per clip."""

    probability: float = 0.8
    length: int = 10


def span_mask(batch: int, frames: int, config: MaskConfig, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw which frames the student may not see; the same number in every clip. -> (batch, frames)."""
    spans = max(1, int(config.probability * frames / config.length + rng.random()))
    length = config.length
    if frames - length <= spans:  # a clip of few frames gets shorter spans rather than no unmasked frame
        length = max(1, frames - spans - 1)
    spans = min(spans, max(1, frames - length))
    rows = []
    for _ in range(batch):
        starts = rng.choice(max(1, frames - length), spans, replace=False)
        rows.append(np.unique(starts[:, None] + np.arange(length)))
    fewest = min(len(row) for row in rows)
    mask = np.zeros((batch, frames), dtype=np.bool_)
    for i, row in enumerate(rows):
        mask[i, rng.choice(row, fewest, replace=False)] = True
    return mask
