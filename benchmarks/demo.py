"""The main job end to end, small: from unlabelled speech to a model file that is searched with, in minutes.

Every stage is what a verb of the command line does, with the small settings of `Settings`. A demo that was
stopped goes on where it was; of one that is done, the table is made again from what it has recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from earkit.benchmarks.demo_record import Record, Settings
from earkit.benchmarks.demo_report import report
from earkit.runtime.atomic import write_text

if TYPE_CHECKING:
    from earkit.distill.distillation import DistilReport
    from earkit.distill.pretrain import StepReport

STAGES = {
    "speech": "synthetic speech, made once",
    "teacher": "a teacher learns from the speech alone, without labels",
    "student": "a student learns from the teacher",
    "pruned": "what matters least in the student goes, and the rest learns again",
    "files": "model files: float, pruned, and int8 if it passes the gate",
    "embedding": "spoken words of speakers never heard become vectors",
    "search": "each word is looked for among those of the other speakers",
    "quality": "linear probes of frozen frames, on speakers never heard",
    "speed": "all in turns on one thread",
}
PAGE = "report.html"


@dataclass(frozen=True)
class Shown:
    """How a demo shows itself while it works. counting: gives what hears how many of how many are done."""

    say: Callable[[str], None]
    pretraining: "Callable[[StepReport], None]"
    distilling: "Callable[[DistilReport], None]"
    counting: Callable[[str], Callable[[int, int], None]]


def demo(out: Path, settings: Settings, shown: Shown, *, fresh: bool = False) -> Record:
    """Do what is left of the demo in `out`, and write its report. fresh: set an earlier one aside."""
    if fresh and out.exists():
        aside = next(
            place for number in count(1) if not (place := out.with_name(f"{out.name}.{number}")).exists()
        )
        out.rename(aside)
        shown.say(f"set {out} aside as {aside}")
    record = Record(out, settings)
    if STAGES.keys() - record.stages.keys():
        from earkit.benchmarks.demo_stages import Stages  # noqa: PLC0415 - torch takes seconds to import

        stages = Stages(out, record, shown)
        for number, (name, told) in enumerate(STAGES.items(), start=1):
            if name not in record.stages:
                shown.say(f"\n{number} of {len(STAGES)}: {told}")
                record.do(name, getattr(stages, name))
    write_text(out / PAGE, report(out, record))
    return record
