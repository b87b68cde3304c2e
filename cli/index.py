"""`kit index`: a folder of sounds becomes searchable."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earkit.cli.embed import find
from earkit.cli.options import AsJson, Threads
from earkit.cli.progress import CountLine, say

if TYPE_CHECKING:
    from earkit.runtime.search.build import Summary


def index(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of sounds, searched to its depths.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of the index; one that is there is updated.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Built-in name, model file, or run; without it, the index's, or the built-in `tiny`."
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            help="Seconds of sound in a span; a shorter file is one span. Default 2.", show_default=False
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(help="Seconds from one span to the next. Default half the window.", show_default=False),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Keep vectors in 8 bits instead of 16: half the size.")
    ] = False,
    codes: Annotated[
        bool,
        typer.Option("--codes", help="Keep sparse codes too, for --method sparse; takes twice the time."),
    ] = False,
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Keep a graph of neighbours too, for millions of spans; needs usearch."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make the index anew: nothing of an earlier one is used.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Index the sounds of a folder, to be searched by `kit search`.

    The same command again embeds what is new or changed, drops what is gone, and goes on where a run was
    killed.
    """
    from earkit.runtime.embedder import Embedder
    from earkit.runtime.search.build import Options, build_index
    from earkit.runtime.search.model import indexed_model
    from earkit.runtime.search.store import is_index

    if source.exists() and not source.is_dir():
        raise typer.BadParameter(f"{source} is no folder")
    sounds = find([source])
    begun = is_index(out) and not fresh
    embedder = Embedder.load(indexed_model(out) if begun and model is None else model, threads=threads)
    options = Options(window, hop, "int8" if int8 else None, codes or None, graph or None)
    summary = build_index(
        embedder, sounds, source, out, options, fresh=fresh, progress=CountLine("indexing, files")
    )
    for reason in summary.skipped.values():
        say(f"left out: {reason}")
    say(_text(summary))
    answer = {"index": str(out), "model": str(embedder.path), **dataclasses.asdict(summary)}
    print(json.dumps(answer) if as_json else out)


def _text(summary: "Summary") -> str:
    done = {
        "embedded": summary.embedded,
        "kept": summary.kept,
        "dropped": summary.dropped,
        "left out": len(summary.skipped),
        "resampled": summary.resampled,
        "averaged to mono": summary.averaged,
        "clipped": summary.clipped,
    }
    counts = "".join(f"; {count} {what}" for what, count in done.items() if count)
    return f"{summary.files} files, {summary.spans} spans, {summary.bytes / 1e6:.2f} MB{counts}"
