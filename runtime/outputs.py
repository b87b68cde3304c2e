"""What can be asked of a model file, and how the windows of one sound become its answer.

Frames and tokens of a long sound are those of its windows, joined. What the graph makes of a whole clip it
cannot make of an hour in bounded memory; so for a sound longer than one window

- `embedding` is the mean of its windows' embeddings, each weighted by its length, of length one again;
- `scores` are the mean of its windows' scores, weighted so: the classes of the mean, for they are linear;
- `sparse` is the mean of its windows' codes, weighted so, of which the k largest latents stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.errors import ConfigError
from earkit.runtime.model_file import OUTPUTS, ModelInfo

Output = Literal["embedding", "frames", "tokens", "sparse", "scores"]

Floats = NDArray[np.float32]
Rows = dict[str, NDArray[Any]]
"""What the graph gives for one clip, by the name of the output, without the batch axis."""


@dataclass(frozen=True)
class SparseCode:
    """Embeddings as sparse codes: of `width` latents the k largest, values falling; all others are 0.

    indices, values: (k,) of one sound, (n, k) of many. Dot products of codes are similarities; for cosines,
    divide each code by its length.
    """

    indices: NDArray[np.int64]
    values: Floats
    width: int

    def dense(self) -> Floats:
        """(k,) -> (width,), (n, k) -> (n, width)."""
        made = np.zeros((*self.indices.shape[:-1], self.width), np.float32)
        np.put_along_axis(made, self.indices, self.values, axis=-1)
        return made


Result = Floats | NDArray[np.int64] | SparseCode


@dataclass(frozen=True)
class Asked:
    """What was asked for, checked against what the file has."""

    output: Output
    dim: int
    """Width of the embedding."""
    k: int
    """Latents of a sparse code."""

    @property
    def names(self) -> list[str]:
        """Outputs of the graph that hold it."""
        return [name for name in OUTPUTS[self.output] if name != "frame_lengths"]

    @property
    def is_by_frame(self) -> bool:
        """Whether there is one result for each frame, not for each sound."""
        return self.output in {"frames", "tokens"}


def ask(info: ModelInfo, output: Output, dim: int | None = None, k: int | None = None) -> Asked:
    """Refuse what the file does not have, in one sentence that says what it has."""
    has = [name for name in get_args(Output) if set(OUTPUTS[name]) <= set(info.outputs)]
    if output not in has:
        raise ConfigError(f"the model {info.name} gives no {output!r}: take {' or '.join(has)}")
    dims = info.dims or (info.dim,)
    if dim is not None and output != "embedding":
        raise ConfigError(f"dim is of the embedding: leave it out for {output}")
    if dim is not None and dim not in dims:
        raise ConfigError(
            f"the embedding of {info.name} was not trained to be cut to {dim}: take dim "
            f"{' or '.join(map(str, dims))}"
        )
    if k is not None and output != "sparse":
        raise ConfigError(f"k is of a sparse code: leave it out for {output}")
    if k is not None and info.sparse and not info.sparse.k_min <= k <= info.sparse.k_max:
        raise ConfigError(
            f"a sparse code of {info.name} has {info.sparse.k_min} to {info.sparse.k_max} latents, not {k}"
        )
    return Asked(output, dim or info.dim, k or (info.sparse.k if info.sparse else 0))


def shapes(asked: Asked, info: ModelInfo, batch: int, time: int) -> dict[str, tuple[int, ...]]:
    """Give the shapes of the graph's outputs."""
    k_max = info.sparse.k_max if info.sparse else 0
    known = {
        "embedding": (batch, info.dim),
        "frames": (batch, time, info.frame_dim),
        "tokens": (batch, time),
        "sparse_indices": (batch, k_max),
        "sparse_values": (batch, k_max),
        "scores": (batch, len(info.classes)),
    }
    return {name: known[name] for name in asked.names}


def join(asked: Asked, info: ModelInfo, windows: Sequence[Rows], samples: Sequence[int]) -> Result:
    """Make one result of the windows of one sound, each of so many samples; a single one is the result.

    Frames and tokens are of one window.
    """
    match asked.output:
        case "frames" | "tokens":
            frames: Result = windows[0][asked.output]
            return frames
        case "embedding":
            mean = _mean([rows["embedding"] for rows in windows], samples)
            return mean if len(windows) == 1 and asked.dim == len(mean) else normalised(mean, asked.dim)
        case "scores":
            return _mean([rows["scores"] for rows in windows], samples)
        case "sparse":
            assert info.sparse is not None
            return _sparse(windows, samples, asked.k, info.sparse.width)


def stack(asked: Asked, info: ModelInfo, results: list[Any]) -> Any:  # noqa: ANN401 - `embed` types what it gives
    """Put the results of many sounds together."""
    if asked.is_by_frame:
        return results
    if asked.output == "sparse":
        assert info.sparse is not None
        shape = (len(results), asked.k)
        indices = np.array([code.indices for code in results], np.int64).reshape(shape)
        values = np.array([code.values for code in results], np.float32).reshape(shape)
        return SparseCode(indices, values, info.sparse.width)
    width = asked.dim if asked.output == "embedding" else len(info.classes)
    return np.array(results, np.float32).reshape(len(results), width)


def normalised(embedding: Floats, dim: int) -> Floats:
    """Cut to the first `dim` values, and make it of length one."""
    cut = embedding[:dim]
    made: Floats = cut / np.float32(max(float(np.linalg.norm(cut)), 1e-12))
    return made


def _mean(values: Sequence[Floats], weights: Sequence[int]) -> Floats:
    if len(values) == 1:
        return values[0]
    mean: Floats = np.average(np.stack(values).astype(np.float64), axis=0, weights=weights).astype(np.float32)
    return mean


def _sparse(windows: Sequence[Rows], weights: Sequence[int], k: int, width: int) -> SparseCode:
    codes = [SparseCode(rows["sparse_indices"][:k], rows["sparse_values"][:k], width) for rows in windows]
    if len(codes) == 1:
        return codes[0]
    mean = _mean([code.dense() for code in codes], weights)
    largest = np.argsort(-mean, kind="stable")[:k]
    return SparseCode(largest, mean[largest], width)
