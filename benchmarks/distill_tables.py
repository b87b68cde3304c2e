"""Tables of what distillation gives, made of the stored results."""

from collections.abc import Iterable, Sequence

from earkit.benchmarks.evaluation_report import NOT_YET
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import Row, load, measured
from earkit.runtime.text_table import NOTHING


def distill_quality() -> str:
    """Scores of every mixture of losses."""
    return _kept("distill_quality", "teacher")


def strong_teacher() -> str:
    """Scores of students of a strong teacher."""
    return _kept("strong_teacher", "speech_embedding")


def _kept(stored_as: str, taught_by: str) -> str:
    stored = load(stored_as)
    rows: list[Row] = stored["rows"]
    teacher = {row["seed"]: row for row in rows if row["name"] == taught_by}
    heads = (
        "frozen features",
        "phones",
        "words",
        "kept, phones",
        "kept, words",
        "word retrieval",
        "speakers",
    )
    lines = []
    for name, mine in grouped(rows):
        kept = [[row[task] / teacher[row["seed"]][task] for row in mine] for task in ("phones", "words")]
        scores = [spread([row[key] for row in mine]) for key in ("phones", "words")]
        scores += [f"{min(values):.0%}" for values in kept]
        scores += [spread([row[key] for row in mine]) for key in ("word_1nn", "speaker")]
        lines.append([name, *scores])
    note = (
        f"Students: `tiny`, {stored['settings']['steps']} steps. Accuracy in per cent on speakers never "
        f"heard, {_seeds(rows)}. Kept: of the teacher's, the least. "
    )
    return markdown_table(heads, lines, note + measured(stored))


def embedding_quality() -> str:
    """Compare retrieval at equal bytes."""
    stored = load("embedding_quality")
    rows: list[Row] = stored["rows"]
    heads = ("bytes", "vectors", "stored as", "nearest neighbour", "mean average precision")
    lines = []
    sizes = sorted({(row["bytes"], row["name"], row["storage"], row["size"]) for row in rows})
    for count, *kind in sizes:
        mine = [row for row in rows if [row["name"], row["storage"], row["size"]] == kind]
        scores = [spread([row[key] for row in mine]) for key in ("first", "precision")]
        name, storage, size = kind
        how = f"{size} of them" if storage == "sparse" else f"{size} x {storage}"
        lines.append([str(count), name, how, *scores])
    note = f"Words across speakers never heard, per cent, {_seeds(rows)}. "
    return markdown_table(heads, lines, note + measured(stored))


def two_teachers() -> str:
    """One teacher, or two."""
    stored = load("two_teachers")
    titles = {"word_1nn": "word retrieval", "speaker": "speakers", "mean": "mean"}
    lines = [
        [label, *(spread([row[key] for row in mine]) for key in titles)]
        for label, mine in grouped(stored["rows"])
    ]
    note = f"Per cent, {_seeds(stored['rows'])}. " + measured(stored)
    return markdown_table(["", *titles.values()], lines, note)


def task_quality() -> str:
    """Ten labelled clips a word, by whose they are and for how many steps one learns from them."""
    stored = load("task_quality")
    rows: list[Row] = stored["rows"]
    conditions = sorted({(row["speakers"], row["budget"]) for row in rows if row["budget"]})
    heads = [f"{f'{n} speakers' if n else 'all speakers'}, {budget} steps" for n, budget in conditions]
    lines = []
    for teacher, name in sorted({(row["teacher"], row["name"]) for row in rows}):
        mine = [row for row in rows if (row["teacher"], row["name"]) == (teacher, name)]
        line = []
        for speakers, budget in conditions:
            scores = [r["accuracy"] for r in mine if r["speakers"] == speakers and r["budget"] in {0, budget}]
            line.append(spread(scores) if scores else NOT_YET)
        lines.append([name, teacher or NOTHING, *line])
    note = f"Words of speakers never heard, per cent, {_seeds(rows)}. " + measured(stored)
    return markdown_table(["", "teacher", *heads], lines, note)


def student_blocks() -> str:
    """Blocks by quality and cost."""
    stored = load("student_blocks")
    costs = ("block", "parameters", "multiply-adds per s", "time", "look-ahead")
    lines = []
    for name, mine in grouped(stored["rows"]):
        cost = mine[0]
        lines.append(
            [
                name,
                f"{cost['parameters'] / 1e6:.2f} M",
                f"{cost['multiply_adds_per_second'] / 1e6:.0f} M",
                f"{cost['time_ratio']:.2f}",
                f"{cost['lookahead_ms']} ms",
                *(spread([row[key] for row in mine]) for key in ("phones", "words", "word_1nn")),
            ]
        )
    return markdown_table((*costs, "phones", "words", "word retrieval"), lines, measured(stored))


def elastic_quality() -> str:
    """List the prefixes of one student."""
    stored = load("elastic_quality")
    depths = sorted({row["depth"] for row in stored["rows"]})
    costs = {row["depth"]: row["multiply_adds"] for row in stored["rows"]}
    heads = ["word retrieval", *(f"{depth} blocks, {costs[depth] / 1e6:.0f} M" for depth in depths)]
    lines = [
        [name, *(spread([row["word_1nn"] for row in mine if row["depth"] == depth]) for depth in depths)]
        for name, mine in grouped(stored["rows"])
    ]
    return markdown_table(heads, lines, "Multiply-adds per second of audio. " + measured(stored))


def token_robustness() -> str:
    """List how far tokens move."""
    stored = load("token_robustness")
    kinds = [
        key for key in stored["rows"][0] if key not in {"name", "seed", "word_1nn", "word_map", "speaker"}
    ]
    lines = [
        [name, *(spread([row[key] for row in mine]) for key in (*kinds, "word_1nn"))]
        for name, mine in grouped(stored["rows"])
    ]
    note = f"Per cent, {_seeds(stored['rows'])}. " + measured(stored)
    return markdown_table(["unit edit distance", *kinds, "word retrieval"], lines, note)


def distill_throughput() -> str:
    """Speed of distillation."""
    stored = load("distill_throughput")
    phases = ("teacher", "forward", "backward", "optimizer")
    lines = [
        [
            f"`{row['teacher']}`",
            row["features"],
            f"{row['audio_seconds_per_second']:.1f}",
            *(f"{row['shares'][phase]:.0%}" for phase in phases),
        ]
        for row in stored["rows"]
    ]
    return markdown_table(("teacher", "features", "audio s per s", *phases), lines, measured(stored))


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


def _seeds(rows: Sequence[Row]) -> str:
    count = len({row["seed"] for row in rows})
    return "one seed" if count == 1 else f"mean of {count} seeds (least to greatest)"
