"""`kit demo`: the main job end to end on the built-in synthetic speech."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Run folder; an unfinished one is resumed.")] = Path("runs/demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Set an earlier demo aside and start anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Train a small teacher on built-in synthetic speech and show what it has learned, in minutes."""
    from earkit.benchmarks.demo import demo as run_demo
    from earkit.cli.progress import ProgressLine, say

    line = ProgressLine()
    rows = run_demo(out, fresh=fresh, report=line, say=say)
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    print(f"{'frozen features':30}{'parameters':>12}{'phones':>9}{'words':>9}")
    for row in rows:
        print(f"{row.name:30}{row.parameters / 1e6:>10.1f} M{row.phones:>8.1%}{row.words:>9.1%}")
    say(
        f"\naccuracy of linear probes on speakers never heard; the speech is synthetic. The teacher is in "
        f"{out / 'teacher'}. Next:\n"
        f"  kit teachers info {out}\n"
        "  kit pretrain --config dinosr_small --data FOLDER --dry-run\n"
        "  kit pretrain --config dinosr_small --data FOLDER"
    )
