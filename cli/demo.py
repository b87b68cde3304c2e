"""`kit demo`: the main job end to end on the built-in synthetic speech."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from earkit.cli.options import AsJson
from earkit.runtime.text_table import text_table


def demo(
    out: Annotated[Path, typer.Option(help="Its folder; an unfinished demo goes on.")] = Path("runs/demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Set an earlier demo aside and start anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Teacher, student, pruning, int8, embeddings and search on built-in synthetic speech, in minutes."""
    from earkit.benchmarks.demo import PAGE, Shown
    from earkit.benchmarks.demo import demo as run_demo
    from earkit.benchmarks.demo_record import Settings
    from earkit.benchmarks.demo_report import remarks, rows, table
    from earkit.cli.progress import CountLine, DistilLine, ProgressLine, say

    record = run_demo(out, Settings(), Shown(say, ProgressLine(), DistilLine(), CountLine), fresh=fresh)
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows(record)]))
        return
    made = table(record)
    print(text_table([made.header, *made.rows]))
    student = record.settings.student
    say("\n".join(["", *remarks(record), f"The report, with plots: {out / PAGE}. Next:"]))
    say(
        f"  kit info {out / f'{student}-pruned'}\n"
        f"  kit search {out / 'words.index'} {out / 'words' / 'clips' / '000000.flac'}\n"
        f"  kit embed FOLDER --model {out / f'{student}-pruned'} -o vectors.npz\n"
        "  kit pretrain --config dinosr_small --data FOLDER --dry-run"
    )
