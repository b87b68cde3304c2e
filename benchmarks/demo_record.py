"""What a demo does, and what it has done: `demo.json` in its folder, written after each stage."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earkit.runtime.atomic import write_text
from earkit.runtime.errors import CheckpointError, ConfigError

FILE = "demo.json"

Result = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How much of each a demo does, so that all of it fits into eight minutes on two cores."""

    speech: str = ""
    """Manifest of a synthetic corpus; without it, the built-in one."""
    teacher: str = "dinosr_nano"
    teacher_set: tuple[str, ...] = ("steps=600",)
    student: str = "tiny"
    student_set: tuple[str, ...] = (
        *("steps=100", "save_every=40", "log_every=5", "probe_every=0"),
        *("data.batch_seconds=30", "optim.hold=0.5"),
    )
    macs: float = 0.6
    """Share of the multiply-adds that pruning leaves."""
    rounds: int = 1
    prune_steps: int = 30
    tokens_per_word: int = 8
    """Of the held-out speakers, to be searched among."""
    probe_clips: int = 100
    probe_frames: int = 6000
    speed_rounds: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Stage:
    """What a stage took, and what came of it."""

    seconds: float
    cpu_seconds: float
    """Of this process and those that it has started, over all cores."""
    stopped: bool
    """It was begun more than once; times are of the last part."""
    result: Result


class Record:
    """The stages that are done, by name."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.file = folder / FILE
        self.settings = settings
        self.stages: dict[str, Stage] = {}
        self.begun = ""
        if self.file.is_file():
            self._load()

    def do(self, name: str, make: Callable[[], Result]) -> None:
        """Do a stage and keep what it gives, unless that is done."""
        if name in self.stages:
            return
        stopped = name == self.begun
        self.begun = name
        self._save()
        begun, cpu = time.monotonic(), _cpu_seconds()
        result = make()
        seconds, cpu_seconds = round(time.monotonic() - begun, 1), round(_cpu_seconds() - cpu, 1)
        self.stages[name] = Stage(seconds, cpu_seconds, stopped, result)
        self.begun = ""
        self._save()

    def result(self, name: str) -> Result:
        """Give what came of a stage."""
        return self.stages[name].result

    def _save(self) -> None:
        stages = {name: asdict(stage) for name, stage in self.stages.items()}
        whole = {"settings": asdict(self.settings), "begun": self.begun, "stages": stages}
        write_text(self.file, json.dumps(whole, indent=1) + "\n")

    def _load(self) -> None:
        try:
            whole = json.loads(self.file.read_text(encoding="utf-8"))
            settings, self.begun = whole["settings"], str(whole["begun"])
            self.stages = {name: Stage(**values) for name, values in whole["stages"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self.file} is damaged ({error}): begin afresh with --fresh") from error
        asked = json.loads(json.dumps(asdict(self.settings)))
        if settings != asked:
            changed = [name for name in asked if asked[name] != settings.get(name)]
            raise ConfigError(
                f"the demo in {self.file.parent} was begun with another {' and '.join(changed)}: give "
                "--fresh to set it aside, or another --out"
            )


def _cpu_seconds() -> float:
    return sum(os.times()[:4])
