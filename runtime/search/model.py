"""Which model's vectors an index holds."""

from pathlib import Path

from earkit.runtime.checksum import sha256
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.search.short import short_dim
from earkit.runtime.search.store import Model, read_head


def model_of(embedder: Embedder, *, codes: bool = False) -> Model:
    """Describe a model for an index, with its sparse codes if they are kept."""
    info = embedder.info
    sparse = info.sparse if codes else None
    return Model(
        name=info.name,
        path=str(embedder.path.absolute()),
        sha256=info.parent_sha256 or sha256(embedder.path),
        precision=info.precision,
        depth=info.depth,
        dim=info.dim,
        short=short_dim(info.dims, info.dim),
        width=sparse.width if sparse else 0,
        k=sparse.k if sparse else 0,
    )


def indexed_model(folder: Path) -> Path:
    """Give the model file that an index was made with."""
    model = read_head(folder).model
    if not Path(model.path).is_file():
        raise CheckpointError(
            f"the model of the index {folder}, {_called(model)}, is no longer {model.path}: "
            "say with --model where it is"
        )
    return Path(model.path)


def refuse_another(folder: Path, mine: Model, given: Model) -> None:
    """Let pass what makes comparable vectors: weights that are exported again may be in another file."""
    if (mine.sha256, mine.precision, mine.depth) != (given.sha256, given.precision, given.depth):
        raise ConfigError(
            f"the vectors of the index {folder} are of the model {_called(mine)} ({mine.path}), and those of "
            f"{_called(given)} cannot be compared with them: give that model, or make the index again with "
            "`kit index --fresh`"
        )


def _called(model: Model) -> str:
    return f"{model.name} {model.sha256[:8]} {model.precision}"
