"""Ground floor of earkit: audio in, model file in, embeddings out. Never imports torch."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earkit.runtime.embedder import Embedder
    from earkit.runtime.outputs import SparseCode
    from earkit.runtime.stream import Stream
    from earkit.runtime.streaming_model import StreamingModel

__all__ = ["Embedder", "SparseCode", "Stream", "StreamingModel"]

_HOME = {
    "Embedder": "embedder",
    "SparseCode": "outputs",
    "Stream": "stream",
    "StreamingModel": "streaming_model",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: importing this package does no work."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
