"""Unit edit distance: how many of a clip's tokens an augmentation changes (Gat et al. 2023).

A stretched or noisy clip may hold a unit for longer, so repeats collapse to one unit first; what is then
inserted, deleted or replaced counts, over the units of the clean clip. 0 is perfect; 1 is as bad as saying
nothing, and more is possible. Time that the augmentation stretches therefore costs nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.errors import DataError

Tokens = NDArray[np.integer]
"""Units of one clip in time, (time,); of one codebook."""


def unit_edit_distance(clean: Sequence[Tokens], other: Sequence[Tokens]) -> float:
    """Edits of all clips over the clean units of all clips, so that a long clip weighs more."""
    edits, units = _edits_and_units(clean, other)
    return float(edits.sum() / units.sum())


def mean_unit_edit_distance(clean: Sequence[Tokens], other: Sequence[Tokens]) -> float:
    """Mean over clips of each clip's edits over its clean units, so that clips weigh the same."""
    edits, units = _edits_and_units(clean, other)
    return float((edits / units).mean())


def collapsed(tokens: Tokens) -> Tokens:
    """Keep the first of each run of equal tokens: 7 7 3 3 3 7 -> 7 3 7."""
    changes = np.ones(len(tokens), bool)
    changes[1:] = tokens[1:] != tokens[:-1]
    return tokens[changes]


def edit_distance(a: Tokens, b: Tokens) -> int:
    """Least number of insertions, deletions and replacements that make `b` of `a` (Levenshtein).

    The table's rows are computed whole. Within row i, cell j is the least of what comes from the row above,
    t_j, and of its left neighbour plus one; unrolled, min over k <= j of t_k + (j - k), which is a running
    minimum of t_k - k.
    """
    columns = np.arange(len(b) + 1)
    row = columns
    for i, token in enumerate(a, start=1):
        above = np.empty_like(row)
        above[0] = i
        above[1:] = np.minimum(row[1:] + 1, row[:-1] + (b != token))
        row = np.minimum.accumulate(above - columns) + columns
    return int(row[-1])


def _edits_and_units(
    clean: Sequence[Tokens], other: Sequence[Tokens]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if len(clean) != len(other) or not len(clean):
        raise DataError(
            f"{len(clean)} clean clips and {len(other)} augmented ones cannot be compared: "
            "give the tokens of the same clips, and at least one"
        )
    for index, tokens in enumerate((*clean, *other)):
        if tokens.ndim != 1:
            raise DataError(
                f"the tokens of clip {index % len(clean)} have the shape {tokens.shape}: give those of one "
                "codebook, (time,)"
            )
    pairs = [(collapsed(a), collapsed(b)) for a, b in zip(clean, other, strict=True)]
    units = np.array([len(a) for a, _ in pairs])
    if not units.all():
        raise DataError(
            f"clip {int(units.argmin())} has no tokens when clean, so no share of them changes: leave it out"
        )
    return np.array([edit_distance(a, b) for a, b in pairs]), units
