"""`kit bench`: how fast models are, and where their time goes."""

from pathlib import Path
from typing import Annotated

import typer

from earkit.cli.options import AsJson


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Model files, runs, teachers, peers; default the newest export and what it was made of.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer lengths and rounds.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write all figures as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with tables and plots.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time models in turns, by length, threads and batch; the first is what the others are compared with.

    Give nothing else to do to the machine meanwhile.
    """
    from earkit.benchmarks import cost_report, speed
    from earkit.cli.progress import say
    from earkit.runtime.atomic import write_text

    measured = speed.speed(models or [], quick=quick, say=say)
    answer = speed.to_json(measured)
    for file, text in ((out, answer), (html, cost_report.html(measured) if html else "")):
        if file:
            write_text(file, text)
            say(f"wrote {file}")
    print(answer if as_json else cost_report.text_table(measured.costs))
