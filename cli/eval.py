"""`kit eval`: models, teachers and peers on real audio, by the same tasks."""

from pathlib import Path
from typing import Annotated

import typer

from earkit.cli.options import AsJson


def eval_(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model files, runs, teachers, peers (whisper_tiny, …) and floors (log-mel, mfcc).",
            metavar="MODEL|TEACHER|PEER...",
        ),
    ],
    tasks: Annotated[
        str, typer.Option(help="Some of the tasks, with commas between; default all whose corpora are here.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of bootstrap, clusters and disturbances.")] = 0,
    out: Annotated[
        Path, typer.Option(help="JSON file that keeps every score as soon as it is there.")
    ] = Path("runs/evaluation.json"),
    html: Annotated[Path | None, typer.Option(help="Write a page with every figure too.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Take from --out what was evaluated before.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Score frozen models by probes on real audio, each figure with its bootstrap interval.

    Fetch the corpora with `kit corpus get --eval`. A run that was killed goes on where it was.
    """
    from earkit.benchmarks import evaluation, evaluation_report
    from earkit.cli.progress import say
    from earkit.runtime.atomic import write_text

    settings = {"seed": seed}
    named = [name.strip() for name in tasks.split(",") if name.strip()]
    kept = evaluation.read(out) if resume else []
    cells = evaluation.evaluation(
        {model: model for model in models},
        evaluation.available(named, say),
        seed,
        kept=kept,
        keep=lambda all_: evaluation.write(out, all_, settings),
        say=say,
    )
    if html:
        write_text(html, evaluation_report.html(cells))
    print(evaluation.to_json(cells, settings) if as_json else evaluation_report.text_table(cells))
    say(f"every figure is in {out}{f' and {html}' if html else ''}")
