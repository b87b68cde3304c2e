"""`kit teachers`: import them, list them, look at one."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from earkit.cli.options import AsJson
from earkit.cli.progress import say
from earkit.runtime.text_table import described

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def teachers() -> None:
    """Import, list and inspect teachers."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="DinoSR checkpoint in the layout of its authors (fairseq).")],
    out: Annotated[Path, typer.Argument(help="Teacher folder to make; an older teacher there is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Make a teacher folder of the authors' checkpoint; nothing in the file is executed."""
    from earkit.distill.teachers.official import import_official

    import_official(file, out)
    _show(out, as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the teachers that can be named: finished runs, the cache, and what a download would fetch."""
    from earkit.distill.teachers.resolve import known

    found = [dataclasses.asdict(teacher) for teacher in known()]
    if as_json:
        print(json.dumps(found))
        return
    width = max(len(teacher["name"]) for teacher in found)
    for teacher in found:
        print(f"{teacher['name']:<{width}}  {teacher['where']:<8}  {teacher['path']}")


@app.command()
def info(
    teacher: Annotated[str, typer.Argument(help="Folder, run or name of a teacher that is on this machine.")],
    as_json: AsJson = False,
) -> None:
    """Show a teacher's size, layers and codebooks; nothing is downloaded."""
    from earkit.distill.teachers.resolve import find, not_found

    folder = find(teacher)
    if folder is None:
        raise not_found(teacher)
    _show(folder, as_json=as_json)


def show_download(done: int, total: int | None) -> None:
    """Draw a download as one living line on a terminal, which is ended when all is there."""
    if sys.stderr.isatty():
        of = f" of {total / 2**20:.0f}" if total else ""
        end = "\n" if done == total else ""
        print(f"\r\x1b[Kfetching: {done / 2**20:.0f}{of} MiB", end=end, file=sys.stderr, flush=True)
    elif done == total:
        say(f"fetched {done / 2**20:.0f} MiB")


def _show(folder: Path, *, as_json: bool) -> None:
    from earkit.distill.teachers.resolve import load_found

    files = folder.iterdir() if folder.is_dir() else folder.parent.iterdir()
    answer = {
        "folder": str(folder),
        **dataclasses.asdict(load_found(folder).info()),
        "bytes": sum(file.stat().st_size for file in files if file.is_file()),
    }
    print(json.dumps(answer) if as_json else described(answer.items()))
