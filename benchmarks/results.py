"""Stored results: one JSON file per benchmark under benchmarks/measured, each naming its machine."""

import json
from pathlib import Path
from typing import Any

from earkit.benchmarks.machine import machine
from earkit.runtime.atomic import write_text

FOLDER = Path(__file__).parent / "measured"


def store(name: str, command: str, rows: list[dict[str, Any]], **settings: Any) -> Path:  # noqa: ANN401 - JSON
    """Write measured/<name>.json: how it was made, on what, and its rows."""
    path = FOLDER / f"{name}.json"
    whole = {"command": command, "machine": machine(), "settings": settings, "rows": rows}
    write_text(path, json.dumps(whole, indent=1) + "\n")
    return path


def load_rows(name: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the rows that an unfinished benchmark has stored, if it had the same settings."""
    if not (FOLDER / f"{name}.json").is_file():
        return []
    stored = load(name)
    return list(stored["rows"]) if stored["settings"] == settings else []


def load(name: str) -> dict[str, Any]:
    """Read what `store` wrote."""
    stored: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return stored
