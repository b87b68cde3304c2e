"""What is to be pruned, how far, and how it recovers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earkit.compress.prune_cost import Cost, cost
from earkit.compress.prune_importance import Importance
from earkit.distill.config import build, override, read_toml
from earkit.distill.data.corpus import Corpus
from earkit.distill.distillation import DistilConfig, load_recipe
from earkit.distill.distilled import DistilledStudent, Provenance, find_student, load_student
from earkit.distill.objective import TeacherConfig
from earkit.distill.run_folder import INDEX
from earkit.distill.teachers.resolve import RELEASED, find
from earkit.distill.training import Say
from earkit.runtime.errors import CheckpointError, ConfigError


@dataclass(frozen=True)
class Target:
    """How far to prune: one of the three is above 0."""

    params: float = 0.0
    """Parameters that stay: up to 1 a share, above 1 their number."""
    macs: float = 0.0
    """Share of the multiply-adds that stays."""
    speedup: float = 0.0
    """How many times as fast the student becomes, measured."""

    def check(self, now: Cost) -> None:
        """Refuse what is no target for a student that costs so much."""
        if sum(bool(each) for each in (self.params, self.macs, self.speedup)) != 1:
            raise ConfigError(
                "say how far to prune in one way, above 0: --target-params, --target-macs or --speedup"
            )
        if not 0 <= self.params <= now.parameters:
            raise ConfigError(
                "--target-params is a share above 0 and at most 1, or a number of parameters up to the "
                f"{now.parameters} that this student has, not {self.params:g}"
            )
        if not 0 <= self.macs <= 1:
            raise ConfigError(f"--target-macs is a share above 0 and at most 1, not {self.macs:g}")
        if self.speedup and not self.speedup > 1:
            raise ConfigError(f"--speedup is above 1, such as 1.5, not {self.speedup:g}")


@dataclass(frozen=True)
class PruneConfig(DistilConfig):
    """Everything that decides a pruning run; what it has from distillation is how each round recovers.

    `start` is the student that is pruned, and `steps` are those of all rounds together.
    """

    importance: Importance = "taylor"
    target: Target = dataclasses.field(default_factory=Target)
    rounds: int = 3
    calibration_batches: int = 24
    """Batches over which `taylor` sums."""
    head_steps: int = 60
    """Steps for the heads of the loss, where the student's own run has none that fit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hours or self.freeze:
            raise ConfigError("pruning is paced by steps and trains the student: leave out hours and freeze")
        if min(self.rounds, self.calibration_batches, self.head_steps) < 1 or self.steps < self.rounds:
            raise ConfigError(
                "rounds, calibration_batches and head_steps are 1 or more, and there is a step for each round"
            )


def prune_config(
    place: Path,
    target: Target,
    *,
    importance: str = "taylor",
    rounds: int = 3,
    steps: int = 600,
    seed: int = 0,
    teachers: Sequence[str] = (),
    overrides: Sequence[str] = (),
    say: Say = lambda _: None,
) -> PruneConfig:
    """Make the configuration of a run that prunes the student in `place`.

    Recipe and teachers are those of the run that the student comes from. A teacher that is no longer there is
    left out, and without any the unpruned student teaches; both are said.
    """
    folder = find_student(place)
    model, provenance = load_student(folder)
    target.check(cost(model.config))
    if model.outputs.classes:
        raise ConfigError(
            f"the student in {place} names classes, which recovery would not teach again: prune the one that "
            "its task stage began with, then run `kit distill --task` again"
        )
    values = _recipe(folder) | _shape(model)
    values |= {"start": str(folder), "freeze": False, "hours": 0.0, "probe_every": 0}
    values |= {"importance": importance, "target": dataclasses.asdict(target), "rounds": rounds}
    values |= {"steps": steps, "seed": seed}
    if model.outputs.sparse:
        values["losses"] = values.get("losses", {}) | {"csr": dataclasses.asdict(model.outputs.sparse)}
    values["teachers"] = _teachers(values.get("teachers", []), teachers, provenance, folder, say)
    override(values, overrides)
    return build(PruneConfig, values, f"the recipe of {place}")


def learned_from(folder: Path) -> Path:
    """Find what a student or teacher was trained on, by the index of its run."""
    index = folder.parent / INDEX
    if not index.is_file():
        raise ConfigError(f"the run of {folder} is not known, and so not what it learned from: give --data")
    source = Path(Corpus.load(index).source)
    if not source.exists():
        raise ConfigError(f"{source}, from which {folder} learned, is not here: give --data")
    return source


def _recipe(folder: Path) -> dict[str, Any]:
    """Read how a student was taught; where that was frozen or without a teacher, the general recipe."""
    file = folder.parent / "config.toml"
    if not file.is_file():
        return load_recipe("general")
    known = {item.name for item in dataclasses.fields(DistilConfig)}
    values = {name: value for name, value in read_toml(file).items() if name in known}
    return values if values.get("teachers") and not values.get("freeze") else load_recipe("general")


def _shape(model: DistilledStudent) -> dict[str, Any]:
    dims = model.outputs.dims or (model.config.embedding_dim,)
    return {"student": dataclasses.asdict(model.config), "matryoshka": {"dims": list(dims)}}


def _teachers(
    recipe: Sequence[dict[str, Any]], asked: Sequence[str], provenance: Provenance, folder: Path, say: Say
) -> list[dict[str, Any]]:
    """Describe those asked for, or those of the recipe or student that are here, or the student itself."""
    described = {each["name"]: each for each in recipe}
    names = asked or list(described) or list(provenance.teachers)
    here = [name for name in names if asked or name in RELEASED or _is_here(name)]
    if gone := [name for name in names if name not in here]:
        say(f"no longer there, so left out: teacher {', '.join(gone)}")
    if not here:
        say("no teacher is left: what the student was before pruning teaches it")
        here = [str(folder)]
    return [described.get(name) or dataclasses.asdict(TeacherConfig(name)) for name in here]


def _is_here(name: str) -> bool:
    try:
        return find(name) is not None
    except CheckpointError:
        return False
