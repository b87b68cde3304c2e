"""`kit prune`: take from a student, or from a teacher, what matters least, and teach what is left."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earkit.cli.options import AsJson, Fresh

if TYPE_CHECKING:
    from earkit.compress.prune_report import Pruned
    from earkit.distill.data.corpus import Corpus
    from earkit.distill.training import LoopConfig

    Run = Callable[[Corpus, Path], Pruned]


def prune(
    place: Annotated[
        Path | None,
        typer.Argument(
            help="Run or folder of a student or a teacher; without it, the newest student in runs/."
        ),
    ] = None,
    target_params: Annotated[
        float, typer.Option(help="Parameters that stay: a share up to 1, or their number.")
    ] = 0.0,
    target_macs: Annotated[
        float, typer.Option(help="Share of the multiply-adds that stays, such as 0.6.")
    ] = 0.0,
    speedup: Annotated[float, typer.Option(help="Or so many times as fast, measured, such as 1.5.")] = 0.0,
    importance: Annotated[
        str, typer.Option(help="taylor, magnitude or random: how to tell what matters.")
    ] = "taylor",
    rounds: Annotated[int, typer.Option(help="How often to prune a part and recover.")] = 3,
    steps: Annotated[int, typer.Option(help="Optimizer steps of all rounds together.")] = 600,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Teacher to recover from, several allowed; default those of the student's run."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder or manifest to recover on; default what the run was taught on."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<run>-pruned.")] = None,
    seed: Annotated[int, typer.Option(help="Decides batches, spans, masks and lots.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any key of the recovery: optim.lr=5e-4."),
    ] = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Prune a student or teacher in rounds; the same command resumes a run that was stopped or killed."""
    from earkit.cli.progress import say
    from earkit.compress.prune_config import Target, learned_from
    from earkit.compress.prune_report import table
    from earkit.compress.prune_teacher import dinosr_teacher
    from earkit.distill.distilled import find_student, run_meant
    from earkit.distill.run_folder import open_run

    place = run_meant(place, say)
    asked = {
        "target": Target(target_params, target_macs, speedup),
        "importance": importance,
        "rounds": rounds,
        "steps": steps,
        "seed": seed,
        "overrides": tuple(set_ or ()),
    }
    teacher_folder = dinosr_teacher(place)
    if teacher_folder and teacher:
        raise typer.BadParameter("a teacher recovers from what it was before: leave out --teacher")
    pruned = teacher_folder or find_student(place)
    folder = out or Path("runs") / f"{_name(pruned)}-pruned"
    prepare, run = _of_teacher(asked, pruned) if teacher_folder else _of_student(asked, pruned, teacher or ())
    corpus = open_run(folder, prepare, data or learned_from(pruned), fresh=fresh, say=say)
    made = run(corpus, folder)
    say(table(made.rows))
    answer = {
        "run": str(folder),
        "pruned": str(made.folder),
        "rows": list(map(dataclasses.asdict, made.rows)),
    }
    print(json.dumps(answer) if as_json else made.folder)


def _of_student(asked: dict[str, Any], folder: Path, teachers: Sequence[str]) -> "tuple[LoopConfig, Run]":
    from earkit.cli.progress import CountLine, DistilLine, say
    from earkit.cli.teachers import show_download
    from earkit.compress.prune import prune as prune_student
    from earkit.compress.prune_config import prune_config
    from earkit.distill.distillation import find_teachers
    from earkit.export.graph import clip_graph, select

    config = prune_config(folder, teachers=teachers, say=say, **asked)
    find_teachers(config.teachers, show_download)

    def run(corpus: "Corpus", out: Path) -> "Pruned":
        line = DistilLine()
        made = prune_student(
            config,
            corpus,
            out,
            to_graph=lambda model: clip_graph(model, select(model)),
            report=line,
            say=say,
            progress=CountLine("teacher's features, segments"),
            download=show_download,
        )
        line.close()
        return made

    return config, run


def _of_teacher(asked: dict[str, Any], folder: Path) -> "tuple[LoopConfig, Run]":
    from earkit.cli.progress import RecoveryLine, say
    from earkit.compress.prune_teacher import prune_teacher, prune_teacher_config

    config = prune_teacher_config(folder, **asked)

    def run(corpus: "Corpus", out: Path) -> "Pruned":
        line = RecoveryLine()
        made = prune_teacher(config, corpus, out, report=line, say=say)
        line.close()
        return made

    return config, run


def _name(folder: Path) -> str:
    """Name a run after the one that a folder is of."""
    folder = folder.absolute()
    return folder.parent.name if folder.name in {"student", "teacher"} else folder.name
