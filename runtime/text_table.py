"""Tables for a terminal."""

from collections.abc import Collection, Iterable, Sequence

NOTHING = "\u2013"
"""Stands in a cell of which there is nothing to say."""


def text_table(lines: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Align columns: those of `left` (-1 is the last) as text, the others as figures, on the right.

    >>> print(text_table([("", "MB"), ("tiny", "13.9"), ("int8", "4.1")]))
            MB
    tiny  13.9
    int8   4.1
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [">"] * len(widths)
    for place in left:
        sides[place] = "<"
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def described(rows: Iterable[tuple[str, object]]) -> str:
    """Write names, and beside each what is said of it."""
    return text_table([(name, str(said)) for name, said in rows], left=(0, 1))
