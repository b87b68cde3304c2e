"""`kit distill`: teach a small student what one or several teachers know."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from earkit.cli.options import AllowEvaluationData, AsJson, Data, Fresh, Hours, Steps, pace
from earkit.runtime.text_table import described


def distill(
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Name, run or folder of a teacher; give it again for several at once."),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="micro, tiny or small: at most 1, 5 and 12 million parameters.")
    ] = None,
    data: Data = None,
    task: Annotated[
        Path | None,
        typer.Option(help="Manifest with a column `label`: teach the student of --from these classes."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Run or student folder whose student is taught further.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="general, sparse, robust or task, or a TOML file; default general."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default runs/<student>, with the recipe if another.")
    ] = None,
    steps: Steps = None,
    hours: Hours = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, batches, spans and masks.")] = None,
    elastic: Annotated[
        bool, typer.Option("--elastic", help="Let every prefix of the blocks give an embedding.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Keep the teachers' features on disk, or run them in every epoch.")
    ] = True,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override any key: losses.relations.weight=2, optim.lr=1e-3."
        ),
    ] = None,
    fresh: Fresh = False,
    allow_evaluation_data: AllowEvaluationData = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, cost and expected time, then stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Distil teachers into a small student; the same command resumes a run that was stopped or killed.

    For several GPUs or machines: accelerate launch -m earkit.cli distill …
    """
    from earkit.cli.progress import CountLine, DistilLine, TaskLine, say
    from earkit.cli.teachers import show_download
    from earkit.distill.device import processes
    from earkit.distill.distillation import DistilConfig, distil, distil_config, find_teachers
    from earkit.distill.run_folder import open_run
    from earkit.distill.task import TaskConfig, distil_task, task_config

    overrides = [*(set_ or []), *pace(steps, hours, seed)]
    overrides += ["elastic=true"] * elastic + ["cache=false"] * (not cache)
    if task and (data or dry_run):
        raise typer.BadParameter("--task brings its own data and has no dry run: give it without the other")
    if recipe == "task" and not task:
        raise typer.BadParameter("the recipe task needs labelled clips: give --task MANIFEST")
    recipe = recipe or ("task" if task else "general")
    told: dict[str, Any] = {"teachers": teacher or (), "student": student, "start": str(start or "")}
    settings: DistilConfig | TaskConfig = (task_config if task else distil_config)(
        recipe, overrides=overrides, **told
    )
    find_teachers(settings.teachers, show_download)
    if dry_run:
        _dry_run(settings, as_json=as_json)
        return
    folder = out or Path("runs") / _name(settings.student.size, recipe, start)
    corpus = open_run(
        folder, settings, task or data, fresh=fresh, say=say, allow_evaluation=allow_evaluation_data
    )
    counts = CountLine("teacher's features, segments")
    if isinstance(settings, TaskConfig):
        made = distil_task(
            settings, corpus, folder, report=TaskLine(), say=say, progress=counts, download=show_download
        )
    else:
        line = DistilLine()
        made = distil(settings, corpus, folder, report=line, say=say, progress=counts, download=show_download)
        line.close()
    if processes().is_main_process:
        print(json.dumps({"run": str(folder), "student": str(made)}) if as_json else made)


def _dry_run(settings: Any, *, as_json: bool) -> None:  # noqa: ANN401 - its class waits for torch
    from earkit.distill.distil_dry_run import dry_run

    plan = dry_run(settings)
    print(json.dumps(dataclasses.asdict(plan)) if as_json else _plan_text(plan))


def _plan_text(plan: Any) -> str:  # noqa: ANN401 - its class waits for torch
    rows = {
        "device": plan.placement,
        "student": plan.student,
        "parameters": f"{plan.parameters / 1e6:.2f} M",
        "multiply-adds": f"{plan.multiply_adds_per_second / 1e6:.0f} M per second of audio",
        "look-ahead": f"{plan.lookahead_ms:.0f} ms; a frame hears {plan.context_seconds:.1f} s back",
        "teachers": ", ".join(f"{name} {rate:g} s/s" for name, rate in plan.teachers.items()) or "none",
        "step": f"{plan.audio_seconds_per_step:.0f} s of audio in {plan.timed_step_seconds:.2f} s, cached",
        "whole run": f"{plan.steps} steps, {plan.hours:.2f} h",
    }
    return described(rows.items())


def _name(size: str, recipe: str, start: Path | None) -> str:
    """Name a run after its student, or after the run that it starts from, and its recipe."""
    if start is None:
        return size if recipe == "general" else f"{size}-{Path(recipe).stem}"
    from earkit.distill.distilled import run_of

    return f"{run_of(start.absolute()).name}-{Path(recipe).stem}"
