"""What stands on both sides of a split: the same sound, the same speaker, the same package."""

from collections.abc import Iterable, Mapping

KEYS = ("sha256", "speaker", "session", "package")

Row = Mapping[str, str]
"""A line of a manifest, by column."""


def overlap(one: Iterable[Row], other: Iterable[Row], keys: Iterable[str] = KEYS) -> dict[str, set[str]]:
    """Give what both sides have in common, by column; nothing for a column in which they are apart.

    What is not known (an empty field) is equal to nothing.
    """
    left, right = list(one), list(other)
    shared = {
        key: {row[key] for row in left if row.get(key)} & {row[key] for row in right if row.get(key)}
        for key in keys
    }
    return {key: values for key, values in shared.items() if values}
