"""Tables of quantization and of speed, made of the stored results."""

from earkit.benchmarks.distill_tables import grouped, spread
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import Row, load, measured

QUALITY = {"phones": "phones", "words": "words", "word_1nn": "word retrieval"}


def quantize_quality() -> str:
    """List every way to quantize, by size, time and quality."""
    stored = load("quantize_quality")
    rows = stored["rows"]
    threads = list(rows[0]["milliseconds"])
    heads = ["way", "MB", *(f"ms, threads: {n} (x float)" for n in threads), "cosine, mean", "worst"]
    heads += ["tokens", *QUALITY.values(), "gate"]
    lines = []
    for name, mine in grouped(rows):
        cells = [f"{_mean([row['megabytes'] for row in mine]):.2f}"]
        for n in threads:
            milliseconds, speed = (
                _mean([row[key][n] for row in mine]) for key in ("milliseconds", "times_float")
            )
            cells.append(f"{milliseconds:.1f} ({speed:.2f})")
        cells += [f"{_mean([row[key] for row in mine]):.4f}" for key in ("cosine", "worst_cosine", "tokens")]
        cells += _quality(mine)
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
    quality = {f"`tiny`, {name}": mine for name, mine in grouped(load("quantize_quality")["rows"])}
    quality["`tiny`, float32 ONNX"] = quality["`tiny`, float32"]
    lines = [
        [
            row["name"],
            f"{row['megabytes']:.2f}",
            f"{row['times smaller']:.0f}x",
            *(
                f"{row[f'milliseconds, {kind}']:.1f} ms, {row[f'times teacher, {kind}']:.0f}x"
                for kind in kinds
            ),
            *_quality(quality.get(row["name"], [])),
        ]
        for row in rows
    ]
    note = (
        f"Medians for a clip of {stored['settings']['seconds']} s; the teacher's weights are random, for its "
        "time. Phones, words, word retrieval: per cent, on speakers never heard, of a student of "
        f"{stored['settings']['steps']} steps on synthetic speech, by `quantize_quality`. "
    )
    return markdown_table(
        ["", "MB", "times smaller", *kinds, *QUALITY.values()], lines, note + measured(stored)
    )


def _quality(rows: list[Row]) -> list[str]:
    return [spread([row[key] for row in rows]) if rows else "" for key in QUALITY]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
