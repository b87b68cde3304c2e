"""`kit tokens`: the token sequence of each sound."""

import json
from typing import Annotated

import typer

from earkit.cli.embed import Model, Places, find
from earkit.cli.options import Threads


def tokens(
    places: Places,
    model: Model = None,
    as_units: Annotated[
        bool, typer.Option("--units", help="Each run of equal tokens once; in JSON with its frames.")
    ] = False,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, a line for each file.")] = False,
) -> None:
    """Print the tokens of sound files, a line for each: the file, a tab, the numbers."""
    from earkit.runtime.embedder import Embedder
    from earkit.runtime.units import units

    sounds = find(places)
    embedder = Embedder.load(model, threads=threads)
    for name, (_, answer) in zip(sounds, embedder.embed_iter(sounds.values(), output="tokens"), strict=True):
        given, frames = units(answer) if as_units else (answer, None)
        if as_json:
            line = {"file": name, "units" if as_units else "tokens": given.tolist()}
            line |= {"frame_rate": embedder.frame_rate} | (
                {} if frames is None else {"frames": frames.tolist()}
            )
            print(json.dumps(line))
        else:
            print(name, " ".join(map(str, given)), sep="\t")
