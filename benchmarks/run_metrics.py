"""What a run logged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def metrics(run: Path) -> list[Mapping[str, Any]]:
    """Read `metrics.jsonl`; of a step that was done again after a kill, the last time counts."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    by_step = {row["step"]: row for row in map(json.loads, lines)}
    return [by_step[step] for step in sorted(by_step)]
