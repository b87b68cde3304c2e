"""The tables of the README, made of the stored results.

    python -m earkit.benchmarks.tables

Rewrites what stands between `<!-- table NAME -->` and `<!-- end -->`; a test keeps the two equal.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earkit.benchmarks.results import load
from earkit.distill.dinosr import DinoSR
from earkit.distill.pretrain import load_config, named_configs
from earkit.runtime.atomic import write_text

README = Path(__file__).parent.parent / "README.md"
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
        "codes active in every codebook. " + _measured(stored),
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
    return "\n".join([*lines, "", _measured(stored)])


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _measured(stored: dict[str, Any]) -> str:
    machine = stored["machine"]
    return (
        f"Measured on {machine['cores']} cores of {machine['processor']}, "
        f"torch {machine['packages']['torch']}; again with `{stored['command']}`."
    )


TABLES: dict[str, Callable[[], str]] = {
    "sizes": sizes,
    "pretrain_quality": pretrain_quality,
    "pretrain_throughput": pretrain_throughput,
}


def filled(text: str) -> str:
    """Put the tables of the stored results into a text with markers."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


def main() -> None:
    """Rewrite the README's tables."""
    write_text(README, filled(README.read_text(encoding="utf-8")))
    print(README)


if __name__ == "__main__":
    main()
