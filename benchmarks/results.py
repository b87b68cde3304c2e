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


def load(name: str) -> dict[str, Any]:
    """Read what `store` wrote."""
    stored: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return stored
