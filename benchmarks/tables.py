"""The tables of the README and the docs, made of the stored results.

    python -m earkit.benchmarks.tables

Rewrites what stands between `<!-- table NAME -->` and `<!-- end -->`; a test keeps the two equal.
"""

import re
from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks import distill_tables, footprint, peers_tables, quantize_tables
from earkit.benchmarks.distill_tables import measured
from earkit.benchmarks.results import load
from earkit.distill.dinosr import DinoSR
from earkit.distill.pretrain import load_config, named_configs
from earkit.runtime.atomic import write_text

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
_MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def sizes() -> str:
    """List the shipped configurations."""
    lines = ["| configuration | layers | width | codebooks | parameters |", "|---|---|---|---|---|"]
    for name in sorted(named_configs(), key=lambda name: -load_config(name).model.depth):
        model = load_config(name).model
        count = sum(p.numel() for p in DinoSR(model).student.parameters())
        lines.append(
            f"| `{name}` | {model.depth} | {model.dim} | {model.codebooks} x {model.codebook_size} "
            f"| {count / 1e6:.1f} M |"
        )
    return "\n".join(lines)


def pretrain_quality() -> str:
    """Probe accuracies: mean over seeds, with the least and the greatest."""
    stored = load("pretrain_quality")
    rows = stored["rows"]
    lines = ["| frozen features | phones | words |", "|---|---|---|"]
    for name in ("log-mel", "untrained", "trained"):
        cells = (_spread([100 * row[f"{name}/{task}"] for row in rows]) for task in ("phones", "words"))
        lines.append(f"| {_NAMES[name]} | {' | '.join(cells)} |")
    margins = stored["settings"]["margins"]
    lines += [
        "",
        f"Linear probes, accuracy in per cent on speakers never heard, synthetic speech, {len(rows)} seeds "
        "(least to greatest). Smallest margins of the trained network in points: "
        + ", ".join(
            f"{key.removesuffix(', least')} {value:+.1f}" for key, value in margins.items() if "least" in key
        )
        + f". Training took {_spread([row['minutes'] for row in rows])} minutes and left "
        f"{min(min(row['active_codes']) for row in rows)} of {rows[0]['codebook_size']} "
        "codes active in every codebook. " + measured(stored),
    ]
    return "\n".join(lines)


_NAMES = {
    "log-mel": "log-mel, 80 bands",
    "untrained": "`dinosr_nano`, untrained",
    "trained": "`dinosr_nano`, trained",
}


def pretrain_throughput() -> str:
    """Speed of training and where it goes."""
    stored = load("pretrain_throughput")
    lines = [
        "| training | audio s per s | step | forward | backward | optimizer | all else |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in stored["rows"]:
        shares = " | ".join(f"{row['shares'][phase]:.0%}" for phase in ("forward", "backward", "optimizer"))
        lines.append(
            f"| `{row['config']}` | {row['audio_seconds_per_second']:.1f} | {row['step_seconds']:.2f} s for "
            f"{row['audio_seconds_per_step']:.0f} s | {shares} | {row['share_outside_learning']:.1%} |"
        )
    return "\n".join([*lines, "", measured(stored)])


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


TABLES: dict[str, Callable[[], str]] = {
    "sizes": sizes,
    "pretrain_quality": pretrain_quality,
    "pretrain_throughput": pretrain_throughput,
    "distill_quality": distill_tables.distill_quality,
    "embedding_quality": distill_tables.embedding_quality,
    "two_teachers": distill_tables.two_teachers,
    "task_quality": distill_tables.task_quality,
    "student_blocks": distill_tables.student_blocks,
    "elastic_quality": distill_tables.elastic_quality,
    "token_robustness": distill_tables.token_robustness,
    "distill_throughput": distill_tables.distill_throughput,
    "quantize_quality": quantize_tables.quantize_quality,
    "teacher_speed": quantize_tables.teacher_speed,
    "footprint": footprint.footprint,
    "sanity_figures": peers_tables.sanity_figures,
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
