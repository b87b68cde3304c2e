"""`kit pretrain`: train a DinoSR teacher."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from earkit.cli.options import AllowEvaluationData, AsJson, Data, Fresh, Hours, Steps, pace
from earkit.runtime.text_table import described


def pretrain(
    config: Annotated[
        str, typer.Option(help="A shipped configuration by name, or a TOML file.")
    ] = "dinosr_nano",
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<config name>.")] = None,
    steps: Steps = None,
    hours: Hours = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, batches, masks and dropout.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override any key of the configuration: optim.lr=1e-3."
        ),
    ] = None,
    fresh: Fresh = False,
    allow_evaluation_data: AllowEvaluationData = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print size, cost, memory and expected time, then stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a DinoSR teacher; the same command resumes a run that was stopped or killed.

    For several GPUs or machines: accelerate launch -m earkit.cli pretrain …
    """
    from earkit.cli.progress import ProgressLine, say
    from earkit.distill.device import processes
    from earkit.distill.pretrain import load_config, pretrain
    from earkit.distill.run_folder import open_run

    settings = load_config(config, [*(set_ or []), *pace(steps, hours, seed)])
    if dry_run:
        from earkit.distill.dry_run import dry_run as measure

        plan = measure(settings)
        print(json.dumps(dataclasses.asdict(plan) | {"fits": plan.fits}) if as_json else _plan_text(plan))
        return
    folder = out or Path("runs") / Path(config).stem
    corpus = open_run(folder, settings, data, fresh=fresh, say=say, allow_evaluation=allow_evaluation_data)
    line = ProgressLine()
    teacher = pretrain(settings, corpus, folder, report=line, say=say)
    line.close()
    if processes().is_main_process:
        print(json.dumps({"run": str(folder), "teacher": str(teacher)}) if as_json else teacher)


def _plan_text(plan: Any) -> str:  # noqa: ANN401 - its class waits for torch
    gib, mib = 1 << 30, 1 << 20
    rows = {
        "device": plan.placement,
        "parameters": f"{plan.parameters / 1e6:.1f} M ({plan.trained_parameters / 1e6:.1f} M trained)",
        "multiply-adds": f"{plan.multiply_adds_per_second / 1e6:.0f} M per second of audio",
        "memory": f"{plan.step_bytes / gib:.1f} GiB per process, {plan.available_bytes / gib:.1f} available: "
        f"{plan.state_bytes / gib:.1f} for weights and optimizer, and "
        f"{plan.activation_bytes_per_second / mib:.1f} MiB per second of audio in a batch",
        "step": f"{plan.audio_seconds_per_step:.0f} s of audio in {plan.timed_step_seconds:.2f} s",
        "whole run": f"{plan.steps} steps, {plan.hours:.2f} h",
    }
    text = described(rows.items())
    if plan.fits:
        return text
    return (
        f"{text}\nthis will not fit: lower data.batch_seconds and raise optim.accumulate by the same factor "
        "(--set data.batch_seconds=… --set optim.accumulate=…)"
    )
