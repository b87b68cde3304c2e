"""Writing a model file: described, sealed, opened again, and its card put beside it."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

from earkit.runtime.atomic import refuse_unwritable, replacing, write_text
from earkit.runtime.errors import ConfigError
from earkit.runtime.model_card import model_card
from earkit.runtime.model_file import KEY, ModelInfo, read_model_file
from earkit.runtime.seal import sealed


def refuse_place(file: Path) -> None:
    """Refuse, before any work, a file that cannot be written."""
    if file.suffix != ".onnx":
        raise ConfigError(f"a model file ends in .onnx: give --out {file.with_suffix('.onnx')}, not {file}")
    refuse_unwritable(file, card_of(file))


def card_of(file: Path) -> Path:
    """Give the place of a file's card."""
    return file.with_suffix(".md")


def write_model_file(
    file: Path,
    proto: Any,  # noqa: ANN401 - an `onnx.ModelProto`: this floor does not import onnx
    info: ModelInfo,
    remarks: str = "",
) -> ModelInfo:
    """Write a graph with its description, which is given back with all that follows from the graph.

    remarks: behind the card, in Markdown.
    """
    written = copy.deepcopy(proto)
    del written.metadata_props[:]
    info = dataclasses.replace(
        info,
        megabytes=round(written.ByteSize() / 1e6, 3),
        operators=tuple(sorted({node.op_type for node in written.graph.node})),
    )
    info = dataclasses.replace(info, card=model_card(info) + remarks)
    written.metadata_props.add(key=KEY, value=info.to_json())
    with replacing(file) as temporary:
        temporary.write_bytes(sealed(written.SerializeToString()))
        read_model_file(temporary)
    write_text(card_of(file), info.card)
    return info
