"""Tables of what distillation gives, made of the stored results."""

from collections.abc import Iterable, Sequence
from typing import Any

from earkit.benchmarks.results import load

Row = dict[str, Any]


def distill_quality() -> str:
    """Scores of every mixture of losses."""
    stored = load("distill_quality")
    rows: list[Row] = stored["rows"]
    teacher = {row["seed"]: row for row in rows if row["name"] == "teacher"}
    lines = [
        "| frozen features | phones | words | kept, phones | kept, words | word retrieval | speakers |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, mine in grouped(rows):
        kept = [[row[task] / teacher[row["seed"]][task] for row in mine] for task in ("phones", "words")]
        scores = [spread([row[key] for row in mine]) for key in ("phones", "words")]
        scores += [f"{min(values):.0%}" for values in kept]
        scores += [spread([row[key] for row in mine]) for key in ("word_1nn", "speaker")]
        lines.append(f"| {name} | {' | '.join(scores)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Students: `tiny`, {stored['settings']['steps']} steps. Accuracy in per cent on speakers never "
            f"heard, {_seeds(rows)}. Kept: of the teacher's, the least. " + measured(stored),
        ]
    )


def embedding_quality() -> str:
    """Compare retrieval at equal bytes."""
    stored = load("embedding_quality")
    rows: list[Row] = stored["rows"]
    lines = [
        "| bytes | vectors | stored as | nearest neighbour | mean average precision |",
        "|---|---|---|---|---|",
    ]
    sizes = sorted({(row["bytes"], row["name"], row["storage"], row["size"]) for row in rows})
    for count, *kind in sizes:
        mine = [row for row in rows if [row["name"], row["storage"], row["size"]] == kind]
        scores = " | ".join(spread([row[key] for row in mine]) for key in ("first", "precision"))
        name, storage, size = kind
        how = f"{size} of them" if storage == "sparse" else f"{size} x {storage}"
        lines.append(f"| {count} | {name} | {how} | {scores} |")
    return "\n".join(
        [*lines, "", f"Words across speakers never heard, per cent, {_seeds(rows)}. " + measured(stored)]
    )


def two_teachers() -> str:
    """One teacher, or two."""
    return _scores("two_teachers", ("word_1nn", "speaker", "mean"), "word retrieval | speakers | mean")


def task_quality() -> str:
    """Ten labelled clips a word."""
    return _scores("task_quality", ("accuracy",), "words of unseen speakers")


def student_blocks() -> str:
    """Blocks by quality and cost."""
    stored = load("student_blocks")
    lines = [
        "| block | parameters | multiply-adds per s | time | look-ahead | phones | words | word retrieval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, mine in grouped(stored["rows"]):
        cost = mine[0]
        scores = " | ".join(spread([row[key] for row in mine]) for key in ("phones", "words", "word_1nn"))
        lines.append(
            f"| {name} | {cost['parameters'] / 1e6:.2f} M | {cost['multiply_adds_per_second'] / 1e6:.0f} M "
            f"| {cost['time_ratio']:.2f} | {cost['lookahead_ms']} ms | {scores} |"
        )
    return "\n".join([*lines, "", measured(stored)])


def elastic_quality() -> str:
    """List the prefixes of one student."""
    stored = load("elastic_quality")
    depths = sorted({row["depth"] for row in stored["rows"]})
    costs = {row["depth"]: row["multiply_adds"] for row in stored["rows"]}
    heads = (f"{depth} blocks, {costs[depth] / 1e6:.0f} M" for depth in depths)
    lines = [f"| word retrieval | {' | '.join(heads)} |", "|---" * (len(depths) + 1) + "|"]
    for name, mine in grouped(stored["rows"]):
        cells = ([row["word_1nn"] for row in mine if row["depth"] == depth] for depth in depths)
        lines.append(f"| {name} | {' | '.join(map(spread, cells))} |")
    return "\n".join([*lines, "", "Multiply-adds per second of audio. " + measured(stored)])


def token_robustness() -> str:
    """List how far tokens move."""
    stored = load("token_robustness")
    kinds = [
        key for key in stored["rows"][0] if key not in {"name", "seed", "word_1nn", "word_map", "speaker"}
    ]
    lines = [
        f"| unit edit distance | {' | '.join(kinds)} | word retrieval |",
        "|---" * (len(kinds) + 2) + "|",
    ]
    for name, mine in grouped(stored["rows"]):
        cells = (spread([row[key] for row in mine]) for key in (*kinds, "word_1nn"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Per cent, {_seeds(stored['rows'])}. " + measured(stored)])


def distill_throughput() -> str:
    """Speed of distillation."""
    stored = load("distill_throughput")
    lines = [
        "| teacher | features | audio s per s | teacher | forward | backward | optimizer |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in stored["rows"]:
        shares = " | ".join(
            f"{row['shares'][phase]:.0%}" for phase in ("teacher", "forward", "backward", "optimizer")
        )
        lines.append(
            f"| `{row['teacher']}` | {row['features']} | {row['audio_seconds_per_second']:.1f} | {shares} |"
        )
    return "\n".join([*lines, "", measured(stored)])


def _scores(name: str, keys: Sequence[str], titles: str) -> str:
    stored = load(name)
    lines = [f"| | {titles} |", "|---" * (len(keys) + 1) + "|"]
    for label, mine in grouped(stored["rows"]):
        lines.append(f"| {label} | {' | '.join(spread([row[key] for row in mine]) for key in keys)} |")
    return "\n".join([*lines, "", f"Per cent, {_seeds(stored['rows'])}. " + measured(stored)])


def grouped(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of each name, in the order in which names come first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["name"], []).append(row)
    return list(groups.items())


def spread(values: Sequence[float]) -> str:
    """Mean in per cent, with the least and the greatest where there are several."""
    percent = [100 * value for value in values]
    mean = f"{sum(percent) / len(percent):.1f}"
    return f"{mean} ({min(percent):.1f} to {max(percent):.1f})" if len(percent) > 1 else mean


def measured(stored: Row) -> str:
    """Say where, and by which command."""
    machine = stored["machine"]
    return (
        f"Measured on {machine['cores']} cores of {machine['processor']}, "
        f"torch {machine['packages']['torch']}; again with `{stored['command']}`."
    )


def _seeds(rows: Sequence[Row]) -> str:
    count = len({row["seed"] for row in rows})
    return "one seed" if count == 1 else f"mean of {count} seeds (least to greatest)"
