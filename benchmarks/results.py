"""Stored results: one JSON file per benchmark under benchmarks/measured, each naming its machine."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from earkit.benchmarks.machine import machine
from earkit.runtime.atomic import write_text

FOLDER = Path(__file__).parent / "measured"

Row = dict[str, Any]


class Cells:
    """A table that is measured cell by cell: each is stored when it is done, and the next call goes on there.

    rows: a cell may have several. settings: a table of others is begun anew.
    """

    def __init__(self, name: str, **settings: Any) -> None:  # noqa: ANN401 - JSON
        self.name, self.settings = name, settings
        self.rows = load_rows(name, settings)

    def find(self, **cell: Any) -> Row | None:  # noqa: ANN401 - JSON
        """Give the first row with these values, if it is there."""
        return next((row for row in self.rows if cell.items() <= row.items()), None)

    def keep(self, rows: Iterable[Row]) -> None:
        """Print the rows of a cell as they come, and store them when all are there."""
        for row in rows:
            self.rows.append(row)
            print(row, flush=True)
        store(self.name, f"python -m earkit.benchmarks.{self.name}", self.rows, **self.settings)


def store(name: str, command: str, rows: list[Row], **settings: Any) -> Path:  # noqa: ANN401 - JSON
    """Write measured/<name>.json: how it was made, on what, and its rows."""
    path = FOLDER / f"{name}.json"
    whole = {"command": command, "machine": machine(), "settings": settings, "rows": rows}
    write_text(path, json.dumps(whole, indent=1) + "\n")
    return path


def load_rows(name: str, settings: dict[str, Any]) -> list[Row]:
    """Read the rows that an unfinished benchmark has stored, if it had the same settings."""
    if not (FOLDER / f"{name}.json").is_file():
        return []
    stored = load(name)
    return list(stored["rows"]) if stored["settings"] == json.loads(json.dumps(settings)) else []


def load(name: str) -> dict[str, Any]:
    """Read what `store` wrote."""
    stored: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return stored


def measured(stored: dict[str, Any]) -> str:
    """Say where, and by which command."""
    machine = stored["machine"]
    sets = ", ".join(machine.get("instruction_sets", ()))  # older results do not name them
    cores = f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''}"
    return (
        f"Measured on {cores} of {machine['processor']}{f' ({sets})' if sets else ''}, "
        f"torch {machine['packages']['torch']}; again with `{stored['command']}`."
    )
