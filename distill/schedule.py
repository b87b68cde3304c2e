"""The tri-stage learning rate: linear warm-up, hold, exponential decay."""

from dataclasses import dataclass

from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule. `warmup`, `hold` and the rest (decay) are shares of the whole run."""

    lr: float = 5e-4
    warmup: float = 0.03
    hold: float = 0.47
    first_scale: float = 0.01
    last_scale: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.01
    clip_norm: float = 10.0
    accumulate: int = 1
    """Batches per optimizer step."""

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.hold < 0 or self.warmup + self.hold > 1:
            raise ConfigError("optim.warmup and optim.hold are shares of the run: together at most 1")
        if self.accumulate < 1:
            raise ConfigError("optim.accumulate must be at least 1")


def tri_stage(progress: float, config: OptimConfig) -> float:
    """Learning rate at a share of the run between 0 and 1."""
    if progress < config.warmup:
        return config.lr * (config.first_scale + (1 - config.first_scale) * progress / config.warmup)
    decay = 1 - config.warmup - config.hold
    if progress < config.warmup + config.hold or not decay:
        return config.lr
    share = min(1.0, (progress - config.warmup - config.hold) / decay)
    return float(config.lr * config.last_scale**share)
