"""`kit search`: where in an index something like this sound is."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from earkit.cli.options import AsJson, Threads
from earkit.cli.progress import say

MethodName = Literal["auto", "exact", "funnel", "binary", "sparse", "graph"]


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder that `kit index` made.")],
    query: Annotated[
        Path, typer.Argument(metavar="QUERY", help="Sound to look for; a long one is cut as the index is.")
    ],
    top: Annotated[int, typer.Option(help="Places to give, none of which overlap.", min=1)] = 10,
    method: Annotated[
        MethodName,
        typer.Option(help="How to look; auto compares with all in a small index, and shortlists in others."),
    ] = "auto",
    model: Annotated[
        str | None, typer.Option(help="The model of the index, if it is no longer where it was.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Print the places that sound most like QUERY: cosine, start and end in seconds, file."""
    from earkit.runtime.embedder import Embedder
    from earkit.runtime.search.index import Index
    from earkit.runtime.search.model import indexed_model

    opened = Index(index)
    if opened.head.pending:
        say(
            f"{opened.head.pending} files are not in the index yet: the run that makes it was stopped, or "
            "still runs"
        )
    embedder = Embedder.load(model or indexed_model(index), threads=threads)
    hits = opened.search(query, embedder, top=top, method=method)
    if as_json:
        answer = {"method": opened.chosen(method), "hits": [dataclasses.asdict(hit) for hit in hits]}
        print(json.dumps(answer))
        return
    for hit in hits:
        print(f"{hit.score:.3f}", f"{hit.start:.2f}", f"{hit.end:.2f}", hit.file, sep="\t")
