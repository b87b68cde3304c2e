"""Manifests: tables that say which clips a corpus has.

CSV or TSV with a header (a column `path`, and whatever else is known), or fairseq's TSV: a first line with
the root folder, then `relative/path<TAB>samples`.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from earkit.runtime.errors import DataError

_MEASURES = ("path", "samples", "sample_rate")  # every other column is a label


@dataclass(frozen=True)
class Row:
    """A clip as its manifest describes it."""

    line: int
    path: str
    """As written; empty where the manifest has none."""
    place: Path
    frames: int | None
    """Samples at `rate`; both or neither are known."""
    rate: int | None
    labels: Mapping[str, str]


def rows(manifest: Path, split: str | None) -> Iterator[Row]:
    """Read a manifest; only the rows of `split` where it has a column of that name and one is asked for."""
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            first = lines.readline()
            if not first.strip():
                raise DataError(f"the manifest {manifest} is empty: give it a header with a column path")
            second = lines.readline()
            lines.seek(0)
            if _is_fairseq(first, second):
                yield from _fairseq(manifest, lines)
            else:
                yield from _table(manifest, lines, "\t" if "\t" in first else ",", split)
    except OSError as error:
        raise DataError(f"cannot read the manifest {manifest}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"the manifest {manifest} is not a table in UTF-8 ({error}): export it again"
        ) from error


def _is_fairseq(first: str, second: str) -> bool:
    _, tab, count = second.rstrip("\r\n").rpartition("\t")
    return "\t" not in first and bool(tab) and count.isdecimal()


def _fairseq(manifest: Path, lines: Iterator[str]) -> Iterator[Row]:
    """Its lengths are in samples at a rate it does not tell, so headers must be read all the same."""
    root = manifest.parent / next(lines).rstrip("\r\n")
    if not root.is_dir():
        raise DataError(
            f"{manifest} begins with the folder {root}, which does not exist: correct its first line"
        )
    for number, line in enumerate(lines, start=2):
        path = line.rstrip("\r\n").rpartition("\t")[0]
        yield Row(number, path, root / path, None, None, {})


def _table(manifest: Path, lines: Iterator[str], delimiter: str, split: str | None) -> Iterator[Row]:
    # Tab-separated tables of this field hold text with unpaired quotation marks, and quote nothing.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    table = csv.DictReader(lines, delimiter=delimiter, quoting=quoting, restval="")
    columns = table.fieldnames or ()
    if "path" not in columns:
        raise DataError(
            f"the manifest {manifest} has no column path (it has {', '.join(columns)}): add a header with it"
        )
    wanted = split if "split" in columns else None
    for row in table:
        if wanted in {None, row.get("split")}:
            frames, rate = _count(row.get("samples")), _count(row.get("sample_rate"))
            known = frames is not None and rate is not None
            labels = {k: v for k, v in row.items() if k is not None and k not in _MEASURES and v}
            yield Row(
                table.line_num,
                row["path"],
                manifest.parent / row["path"],
                frames if known else None,
                rate if known else None,
                labels,
            )


def _count(text: str | None) -> int | None:
    """Read a positive whole number; anything else is as good as absent, for the header is asked then."""
    return int(text) if text and text.isascii() and text.isdecimal() and int(text) > 0 else None
