"""Sounds in a zip of a package, which is read in place."""

import zipfile
from pathlib import Path

from earkit.runtime.audio import Audio, read


def read_member(archive: Path, member: str) -> Audio:
    """Decode one file of an archive."""
    with zipfile.ZipFile(archive) as opened:
        return read(opened.read(member), name=member)
