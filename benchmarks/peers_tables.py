"""Tables of peers and of models of ours, made of the stored results."""

from earkit.benchmarks.cost import COUNTED, Cost, timed
from earkit.benchmarks.evaluation import LOWER_IS_BETTER, NOT_A_SHARE, of_row
from earkit.benchmarks.evaluation_report import grid
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.peers import PEERS
from earkit.benchmarks.representations import FLOORS
from earkit.benchmarks.results import load, measured
from earkit.benchmarks.sanity_figures import LONG
from earkit.runtime.find_model import built_in
from earkit.runtime.text_table import NOTHING

SHORT = {
    "word_retrieval": "words",
    "digits": "digits",
    "speaker_identification": "speakers",
    "phone_classification": "phones",
}
"""Tasks that the README shows, by the heads of their columns."""


def peers_quality() -> str:
    """List the headline of every task, for everyone."""
    stored = load("peers_quality")
    cells = sorted((of_row(row) for row in stored["rows"]), key=lambda cell: _place(cell.model))
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    heads, *rows = grid(cells)
    lower = ", ".join(task.replace("_", " ") for task in tasks if task in LOWER_IS_BETTER) or "no column"
    plain = ", ".join(task.replace("_", " ") for task in tasks if task in NOT_A_SHARE) or "no column"
    note = (
        f"Per cent with 95 % intervals, but {plain}; lower is better in {lower}. "
        f"{NOTHING}: gives no frames, which the task needs. "
    )
    return markdown_table(heads, rows, note + measured(stored))


def peers_short() -> str:
    """List size, time and some scores of the shipped model, and of what one would take instead.

    Who is not scored in all of these tasks yet is left out.
    """
    quality, cost = load("peers_quality"), load("peers_cost")
    found = {(cell.model, cell.task): cell.headline for cell in map(of_row, quality["rows"])}
    costs = {made.name: made for made in (Cost(**row) for row in cost["rows"])}
    ours = next(name for name in costs if name in built_in())
    axis = timed(COUNTED, 1)
    rows = []
    for name in (ours, *(name for name in costs if name in PEERS)):
        if not all((name, task) in found for task in SHORT):
            continue
        scores = (found[name, task] for task in SHORT)
        seconds = costs[name].seconds[axis]
        times = seconds / costs[ours].seconds[axis]
        rows.append(
            [
                f"`{name}`",
                f"{costs[name].megabytes:.1f}",
                f"{1000 * seconds:.0f} ms",
                f"{times:.0f}" if times >= 10 else f"{times:.2g}",
                *(f"{100 * score.value:.0f}" if score else NOTHING for score in scores),
            ]
        )
    note = (
        f"{COUNTED} s of sound on one thread, medians. Per cent: the nearest word of another voice, digits, "
        f"speakers, phones of a frame. {NOTHING}: gives no frames. "
    )
    heads = ("", "MB", f"{COUNTED} s take", "times as long", *SHORT.values())
    return markdown_table(heads, rows, note + measured(cost))


def _place(model: str) -> int:
    """Order models: floors, peers, then ours."""
    others = [*FLOORS, *PEERS]
    return others.index(model) if model in others else len(others)


def peers_cost() -> str:
    """List size, work and time of everyone."""
    stored = load("peers_cost")
    costs = [Cost(**row) for row in stored["rows"]]
    lengths, threads = stored["settings"]["plan"]["lengths"], stored["settings"]["plan"]["threads"]
    times = [(length, n) for n in threads for length in lengths if timed(length, n) in costs[0].seconds]
    heads = ["", "parameters", "MB", f"multiply-adds, {COUNTED} s"]
    heads += [f"real-time factor, {timed(*each)}" for each in times]
    heads += [f"times as fast as `{costs[0].name}`, {COUNTED} s", "cold start", "peak memory"]
    rows = []
    for cost in costs:
        adds = cost.multiply_adds.get(str(COUNTED))
        rows.append(
            [
                cost.name,
                f"{cost.parameters / 1e6:.2f} M" if cost.parameters else NOTHING,
                f"{cost.megabytes:.1f}" if cost.megabytes else NOTHING,
                f"{adds / 1e9:.2f} G" if adds is not None else NOTHING,
                *(f"{cost.seconds[timed(*each)] / each[0]:.2g}" for each in times),
                f"{cost.times[timed(COUNTED, 1)]:.3g}",
                f"{cost.cold_start:.2f} s",
                f"{cost.peak_mb:.0f} MB",
            ]
        )
    return markdown_table(heads, rows, "Medians, everyone in turns. " + measured(stored))


def sanity_figures() -> str:
    """List known figures of peers beside what is measured here."""
    stored = load("sanity_figures")
    lines = []
    for row in stored["rows"]:
        here = {k: v for k, v in row.items() if k not in {"peer", "corpus", "expected"}}
        told = ", ".join(f"{100 * value:.1f} {how}" for how, value in here.items())
        lines.append([f"`{row['peer']}`", row["corpus"], f"{100 * row['expected']:.0f}", told])
    note = (
        "Nearest neighbour, per cent: words of kajongg among other voices, speakers of speakerbox among "
        f"other meetings (all segments, and those of {LONG:g} s or more). "
    )
    return markdown_table(("", "corpus", "known", "measured here"), lines, note + measured(stored))


def adaptive_embeddings() -> str:
    """List what vectors of every size keep, and how fast they are searched."""
    stored = load("adaptive_embeddings")
    rows, settings = stored["rows"], stored["settings"]
    scores = {"words, de": "1-NN, as is, de", "words, en": "1-NN, as is, en", "digits": "accuracy"}
    lines = [
        [
            f"{row['name']}, {row['size']} x {row['storage']}",
            str(row["bytes"]),
            f"{row['times_smaller']:.0f}x",
            *(f"{100 * row[metric]:.1f}" for metric in scores.values()),
            f"{row['query_ms']:.2f} ms",
            f"{row['times_faster']:.1f}x",
        ]
        for row in rows
    ]
    heads = ("", "bytes", "smaller", *scores, "a query", "faster")
    note = (
        f"`{settings['model']}`; per cent, not standardised: the nearest word of another voice is the same "
        "one; digits of another voice. An exact search of "
        f"{settings['vectors']} vectors on one thread, medians; ratios of each query to the first way. "
    )
    return markdown_table(heads, lines, note + measured(stored))
