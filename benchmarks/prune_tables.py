"""The table of pruning, made of the stored results."""

from statistics import fmean

from earkit.benchmarks.distill_tables import grouped, spread
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import load, measured


def prune_quality() -> str:
    """Compare ways to choose what goes with the whole student, which is its own measure."""
    stored = load("prune_quality")
    rows = stored["rows"]
    lines = []
    for name, mine in grouped(rows):
        costs = (fmean(row.get(key, 1.0) for row in mine) for key in ("multiply_adds", "speed"))
        scores = ([row.get(key, 1.0) for row in mine] for key in ("phones", "words", "retained"))
        lines.append([name, *(f"{cost:.2f}" for cost in costs), *map(spread, scores)])
    heads = ("chosen by", "multiply-adds", "times as fast", "phones", "words", "kept")
    note = (
        f"Phones, words: per cent, on speakers never heard, {len({row['seed'] for row in rows})} seed(s). "
        "Kept: of the whole student's, the worse of both. "
    )
    return markdown_table(heads, lines, note + measured(stored))
