"""Options that several verbs have, each with one help text."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Threads = Annotated[
    int | None, typer.Option(help="By default as many as are granted, by a container's quota too.")
]

Data = Annotated[
    Path | None,
    typer.Option(help="Folder, CSV/TSV manifest or tar shards; without it, the built-in synthetic speech."),
]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps.")]
Hours = Annotated[
    float | None, typer.Option(help="Wall hours instead of steps; paces the learning rate too.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Do not resume: set an existing run folder aside and start anew.")
]
AllowEvaluationData = Annotated[
    bool,
    typer.Option(
        "--allow-evaluation-data", help="Train on clips that are for evaluation only; it is recorded."
    ),
]


def pace(steps: int | None, hours: float | None, seed: int | None) -> list[str]:
    """Write what was given of these as overrides; steps mean that no hours are counted."""
    given = {"steps": steps, "hours": 0.0 if steps is not None and hours is None else hours, "seed": seed}
    return [f"{name}={value}" for name, value in given.items() if value is not None]
