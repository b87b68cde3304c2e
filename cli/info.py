"""`kit info`: what a model file says about itself."""

import json
from typing import Annotated

import typer

from earkit.cli.options import AsJson


def info(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Built-in name, model file, or run; without it, the built-in `tiny`.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the card of a model: what it gives, its size and speed, where it comes from."""
    from earkit.runtime.find_model import find_model
    from earkit.runtime.model_card import model_card
    from earkit.runtime.model_file import read_model_file

    file = find_model(model)
    read = read_model_file(file)
    size = file.stat().st_size
    if as_json:
        print(json.dumps({"file": str(file), "bytes": size, **json.loads(read.to_json())}))
        return
    print(f"{file}: {size / 1e6:.2f} MB\n")
    print(read.card or model_card(read), end="")
