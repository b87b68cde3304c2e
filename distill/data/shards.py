"""Uncompressed tar shards, read in place: a member is an offset and a size, and nothing is unpacked.

So a hostile member name (`../../x`) is only a name, and any clip of a shard is reached by one seek.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from earkit.runtime.errors import DataError

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")

_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstandard


@dataclass(frozen=True)
class Member:
    """A file within a shard, in bytes from the shard's beginning."""

    name: str
    offset: int
    size: int


def members(shard: Path) -> Iterator[Member]:
    """List the regular files of a shard in their order; a damaged shard ends in DataError at the damage."""
    try:
        with shard.open("rb") as file:
            if file.read(6).startswith(_MAGIC):
                raise DataError(
                    f"{shard} is compressed: decompress it to a plain tar, then clips can be reached"
                )
            file.seek(0)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for entry in tar:
                    if entry.isreg() and not entry.issparse():
                        if entry.offset_data + entry.size > size:
                            raise DataError(f"{shard} is truncated within {entry.name}: copy it again")
                        yield Member(entry.name, entry.offset_data, entry.size)
                    tar.members = []  # type: ignore[attr-defined]  # or it would remember every entry
                # A damaged header looks like the end to tarfile; the real end is a block of zeros, or none.
                file.seek(tar.offset)
                if any(file.read(tarfile.BLOCKSIZE)):
                    raise DataError(f"{shard} is damaged in the middle: copy or pack it again")
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"cannot read {shard} as a tar shard ({error}): copy or pack it again") from error


class Window(io.RawIOBase):
    """The bytes [offset, offset + size) of a file as a file of their own."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._offset, self._size, self._position = offset, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, target: int, whence: int = os.SEEK_SET) -> int:
        """Move within the window."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + target)
        return self._position

    def tell(self) -> int:
        """Position within the window."""
        return self._position

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # any buffer is cast below
        """Fill `buffer` as far as the window goes."""
        view = memoryview(buffer).cast("B")
        left = max(0, self._size - self._position)
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(view[:left]) or 0
        self._position += count
        return count

    def close(self) -> None:
        """Close the underlying file."""
        self._file.close()
        super().close()
