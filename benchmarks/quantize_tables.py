"""Tables of quantization and of speed, made of the stored results."""

from earkit.benchmarks.distill_tables import grouped, spread
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import load, measured


def quantize_quality() -> str:
    """List every way to quantize, by size, time and quality."""
    stored = load("quantize_quality")
    rows = stored["rows"]
    threads = list(rows[0]["milliseconds"])
    heads = ["way", "MB", *(f"ms, threads: {n} (x float)" for n in threads), "cosine, mean", "worst"]
    heads += ["tokens", "phones", "words", "word retrieval", "gate"]
    lines = []
    for name, mine in grouped(rows):
        cells = [f"{_mean([row['megabytes'] for row in mine]):.2f}"]
        for n in threads:
            milliseconds, speed = (
                _mean([row[key][n] for row in mine]) for key in ("milliseconds", "times_float")
            )
            cells.append(f"{milliseconds:.1f} ({speed:.2f})")
        cells += [f"{_mean([row[key] for row in mine]):.4f}" for key in ("cosine", "worst_cosine", "tokens")]
        cells += [spread([row[key] for row in mine]) for key in ("phones", "words", "word_1nn")]
        refusals = sorted({row["refusal"] for row in mine} - {""})
        lines.append([name, *cells, "; ".join(refusals) or "passes"])
    note = (
        "Cosine and tokens: to the float file. Phones, words, retrieval: per cent, on speakers never "
        f"heard, {len({row['seed'] for row in rows})} seed(s). "
    )
    return markdown_table(heads, lines, note + measured(stored))


def teacher_speed() -> str:
    """Compare teacher and student, in time and size."""
    stored = load("teacher_speed")
    rows = stored["rows"]
    kinds = [key.removeprefix("milliseconds, ") for key in rows[0] if key.startswith("milliseconds")]
    lines = [
        [
            row["name"],
            f"{row['megabytes']:.2f}",
            f"{row['times smaller']:.0f}x",
            *(
                f"{row[f'milliseconds, {kind}']:.1f} ms, {row[f'times teacher, {kind}']:.0f}x"
                for kind in kinds
            ),
        ]
        for row in rows
    ]
    note = f"Medians for a clip of {stored['settings']['seconds']} s. " + measured(stored)
    return markdown_table(["", "MB", "times smaller", *kinds], lines, note)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
