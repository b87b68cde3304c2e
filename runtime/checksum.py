"""Checksums of files."""

import hashlib
from pathlib import Path


def sha256(file: Path) -> str:
    """Give what sha256sum prints, without reading all of the file into memory at once."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
