"""What pruning reports: figures of the network before, and after each round."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earkit.runtime.atomic import write_text
from earkit.runtime.text_table import text_table

FILE = "prune.json"


@dataclass(frozen=True)
class Row:
    """Figures of one network."""

    name: str
    depth: int
    inner_dims: tuple[int, ...]
    block_heads: tuple[int, ...]
    parameters: int
    multiply_adds: int
    """Of 10 s of audio."""
    milliseconds: float
    """Of the same on one thread, all in turns: a student in onnxruntime, a teacher in torch."""
    speed: float
    """How many times as fast as before."""
    quality: dict[str, float]
    """Of a student over its teacher, of a teacher over what it was before: probes on speakers held out."""


@dataclass(frozen=True)
class Pruned:
    """What came out: the folder of the network, and its figures, the last row's being the result's."""

    folder: Path
    rows: tuple[Row, ...]

    def keep(self, out: Path) -> None:
        """Write the figures into the run."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        write_text(out / FILE, json.dumps({"rows": rows}, indent=1) + "\n")


def table(rows: Sequence[Row]) -> str:
    """Write the figures for a person."""
    first, tasks = rows[0], list(rows[0].quality)
    head = ["", "blocks", "parameters", "multiply-adds", "10 s of audio", "", *tasks]
    return text_table([head, *(_cells(row, first, tasks) for row in rows)], left=())


def _cells(row: Row, first: Row, tasks: Sequence[str]) -> list[str]:
    return [
        row.name,
        str(row.depth),
        f"{row.parameters / 1e6:.2f} M ({row.parameters / first.parameters:.0%})",
        f"{row.multiply_adds / 1e6:.0f} M ({row.multiply_adds / first.multiply_adds:.0%})",
        f"{row.milliseconds:.1f} ms",
        f"{row.speed:.2f} x",
        *(f"{row.quality[task]:.3f}" for task in tasks),
    ]
