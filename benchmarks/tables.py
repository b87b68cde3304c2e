"""The tables of the README and the docs, made of the stored results.

    python -m earkit.benchmarks.tables

Rewrites what stands between `<!-- table NAME -->` and `<!-- end -->`; a test keeps the two equal.
"""

import re
from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks import (
    distill_tables,
    footprint,
    peers_tables,
    prune_tables,
    quantize_tables,
    search_tables,
    stream_tables,
)
from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import load, measured
from earkit.distill.dinosr import DinoSR
from earkit.distill.pretrain import load_config, named_configs
from earkit.runtime.atomic import write_text

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
_MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def sizes() -> str:
    """List the shipped configurations."""
    lines = []
    for name in sorted(named_configs(), key=lambda name: -load_config(name).model.depth):
        model = load_config(name).model
        count = sum(p.numel() for p in DinoSR(model).student.parameters())
        codebooks = f"{model.codebooks} x {model.codebook_size}"
        lines.append([f"`{name}`", str(model.depth), str(model.dim), codebooks, f"{count / 1e6:.1f} M"])
    return markdown_table(("configuration", "layers", "width", "codebooks", "parameters"), lines)


def pretrain_quality() -> str:
    """Probe accuracies: mean over seeds, with the least and the greatest."""
    stored = load("pretrain_quality")
    rows = stored["rows"]
    tasks = ("phones", "words")
    lines = [
        [title, *(_spread([100 * row[f"{name}/{task}"] for row in rows]) for task in tasks)]
        for name, title in _NAMES.items()
    ]
    margins = stored["settings"]["margins"]
    note = (
        f"Linear probes, accuracy in per cent on speakers never heard, synthetic speech, {len(rows)} seeds "
        "(least to greatest). Smallest margins of the trained network in points: "
        + ", ".join(
            f"{key.removesuffix(', least')} {value:+.1f}" for key, value in margins.items() if "least" in key
        )
        + f". Training took {_spread([row['minutes'] for row in rows])} minutes and left "
        f"{min(min(row['active_codes']) for row in rows)} of {rows[0]['codebook_size']} "
        "codes active in every codebook. "
    )
    return markdown_table(("frozen features", *tasks), lines, note + measured(stored))


_NAMES = {
    "log-mel": "log-mel, 80 bands",
    "untrained": "`dinosr_nano`, untrained",
    "trained": "`dinosr_nano`, trained",
}


def pretrain_throughput() -> str:
    """Speed of training and where it goes."""
    stored = load("pretrain_throughput")
    phases = ("forward", "backward", "optimizer")
    lines = [
        [
            f"`{row['config']}`",
            f"{row['audio_seconds_per_second']:.1f}",
            f"{row['step_seconds']:.2f} s for {row['audio_seconds_per_step']:.0f} s",
            *(f"{row['shares'][phase]:.0%}" for phase in phases),
            f"{row['share_outside_learning']:.1%}",
        ]
        for row in stored["rows"]
    ]
    heads = ("training", "audio s per s", "step", *phases, "all else")
    return markdown_table(heads, lines, measured(stored))


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


TABLES: dict[str, Callable[[], str]] = {
    "sizes": sizes,
    "pretrain_quality": pretrain_quality,
    "pretrain_throughput": pretrain_throughput,
    "distill_quality": distill_tables.distill_quality,
    "strong_teacher": distill_tables.strong_teacher,
    "embedding_quality": distill_tables.embedding_quality,
    "two_teachers": distill_tables.two_teachers,
    "task_quality": distill_tables.task_quality,
    "student_blocks": distill_tables.student_blocks,
    "elastic_quality": distill_tables.elastic_quality,
    "token_robustness": distill_tables.token_robustness,
    "distill_throughput": distill_tables.distill_throughput,
    "quantize_quality": quantize_tables.quantize_quality,
    "teacher_speed": quantize_tables.teacher_speed,
    "prune_quality": prune_tables.prune_quality,
    "stream_delay": stream_tables.stream_delay,
    "stream_cost": stream_tables.stream_cost,
    "search_speed": search_tables.search_speed,
    "footprint": footprint.footprint,
    "sanity_figures": peers_tables.sanity_figures,
    "peers_quality": peers_tables.peers_quality,
    "peers_cost": peers_tables.peers_cost,
    "peers_short": peers_tables.peers_short,
    "adaptive_embeddings": peers_tables.adaptive_embeddings,
}


def filled(text: str) -> str:
    """Put the tables of the stored results into a text with markers."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


def main() -> None:
    """Rewrite the tables of all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if filled(text) != text:
            write_text(page, filled(text))
            print(page)


if __name__ == "__main__":
    main()
