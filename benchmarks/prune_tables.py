"""The table of pruning, made of the stored results."""

from statistics import fmean

from earkit.benchmarks.distill_tables import grouped, spread
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import Row, load, measured

SCORES = ("phones", "words", "loss")


def prune_quality() -> str:
    """Compare ways to choose what goes with the whole student, which is its own measure."""
    stored = load("prune_quality")
    rows = stored["rows"]
    lines = []
    for name, mine in sorted(grouped(rows), key=lambda group: -round(_multiply_adds(group[1]), 2)):
        costs = (_multiply_adds(mine), fmean(row.get("speed", 1.0) for row in mine))
        lines.append(
            [
                name,
                *(f"{cost:.2f}" for cost in costs),
                *(_cell(mine, f"pruned {key}") for key in SCORES),
                *(_cell(mine, key) for key in (*SCORES, "retained")),
            ]
        )
    heads = ("chosen by", "multiply-adds", "times as fast", *(f"{each}, not recovered" for each in SCORES))
    note = (
        f"Phones, words: per cent, on speakers never heard, {len({row['seed'] for row in rows})} seed(s), "
        "mean (least to greatest). Kept: of the whole student's, the worse of both. Loss: of distillation, "
        "on the same batches for all ways of one round. "
    )
    return markdown_table((*heads, *SCORES, "kept"), lines, note + measured(stored))


def _multiply_adds(rows: list[Row]) -> float:
    return fmean(row.get("multiply_adds", 1.0) for row in rows)


def _cell(rows: list[Row], key: str) -> str:
    values = [row[key] for row in rows if key in row]
    if not values:
        return ""
    if not key.endswith("loss"):
        return spread(values)
    return f"{fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
