"""What each round of pruning has: its part of the way to the target, and its share of the steps."""

from dataclasses import dataclass
from pathlib import Path

from earkit.compress.prune_config import Target
from earkit.compress.prune_cost import Cost
from earkit.distill.config import to_toml
from earkit.distill.device import processes
from earkit.distill.training import LoopConfig
from earkit.runtime.atomic import write_text
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """What a network may cost, in what is counted."""

    counted: str
    """A field of `Cost`."""
    now: int
    target: float

    def spent(self, cost: Cost) -> int:
        """Count a network."""
        return int(getattr(cost, self.counted))

    def after(self, done: int, rounds: int) -> float:
        """Give the budget of a round, from the whole network to the target in even steps."""
        return self.now + (self.target - self.now) * done / rounds


def budget_of(target: Target, whole: Cost) -> Budget:
    """Turn a target, of parameters or of multiply-adds, into a count."""
    if target.params:
        stay = target.params * (whole.parameters if target.params <= 1 else 1)
        return Budget("parameters", whole.parameters, stay)
    return Budget("multiply_adds", whole.multiply_adds, target.macs * whole.multiply_adds)


def steps_of(number: int, rounds: int, steps: int) -> int:
    """Share steps among rounds, counted from 1; the last has what is left over too."""
    share = steps // rounds
    return share if number < rounds else steps - share * (rounds - 1)


def round_folder(out: Path, number: int) -> Path:
    """Where in a run a round lies, counted from 1."""
    return out / f"round-{number}"


def names(networks: int) -> list[str]:
    """Name the network before, and those of the rounds."""
    return ["before", *(f"round {number}" for number in range(1, networks))]


def begin(config: LoopConfig, out: Path) -> None:
    """Make the run folder, with the configuration in it."""
    if processes().num_processes > 1:
        raise ConfigError("pruning runs in one process: start it without accelerate launch or torchrun")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "config.toml", to_toml(config))
