"""What an index holds of each file, and the arrays that all files together make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.search.postings import Codes, Postings, by_row, inverted
from earkit.runtime.search.short import shortened
from earkit.runtime.search.signs import signs
from earkit.runtime.search.store import Arrays, Model
from earkit.runtime.search.vectors import Stored, as_floats

_BLOCK = 8192  # rows in float32 at a time


@dataclass(frozen=True)
class Rows:
    """The spans of one file, in their order."""

    places: NDArray[np.int64]
    """(n, 2): the first sample, and the one behind the last."""
    vectors: Stored
    codes: Codes | None


def joined(parts: Sequence[Rows]) -> Rows:
    """Put rows one behind the other."""
    codes = [rows.codes for rows in parts if rows.codes]
    whole = (
        Codes(
            np.concatenate([code.latents for code in codes]), np.concatenate([code.weights for code in codes])
        )
        if codes
        else None
    )
    return Rows(
        np.concatenate([rows.places for rows in parts]),
        np.concatenate([rows.vectors for rows in parts]),
        whole,
    )


def arrays_of(files: Sequence[Rows], model: Model) -> dict[str, NDArray[Any]]:
    """Make the arrays of `store.py`."""
    numbers = np.repeat(np.arange(len(files)), [len(rows.places) for rows in files])
    whole = joined(files)
    vectors = whole.vectors
    blocks = range(0, len(vectors), _BLOCK)
    made: dict[str, NDArray[Any]] = {
        "spans": np.column_stack([numbers, whole.places]).astype(np.int64),
        "vectors": vectors,
        # Of vectors as they are stored, so that it does not matter which run stored them.
        "signs": np.concatenate([signs(as_floats(vectors[i : i + _BLOCK])) for i in blocks], axis=1),
    }
    if model.short:
        made["short"] = np.concatenate(
            [shortened(as_floats(vectors[i : i + _BLOCK]), model.short) for i in blocks]
        )
    if whole.codes:
        postings = inverted(whole.codes, model.width)
        made |= {f"code_{name}": array for name, array in vars(postings).items()}
    return made


def rows_of(arrays: Arrays, files: int, model: Model) -> list[Rows]:
    """Undo `arrays_of`."""
    spans, vectors = arrays["spans"], arrays["vectors"]
    bounds = np.searchsorted(spans[:, 0], np.arange(files + 1)).tolist()
    codes = None
    if model.k:
        postings = Postings(arrays["code_starts"], arrays["code_rows"], arrays["code_weights"])
        codes = by_row(postings, model.k)
    made = []
    for number in range(files):
        own = slice(bounds[number], bounds[number + 1])
        part = Codes(codes.latents[own], codes.weights[own]) if codes else None
        made.append(Rows(spans[own, 1:], vectors[own], part))
    return made
