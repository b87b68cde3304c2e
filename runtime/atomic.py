"""Writes that either happen entirely or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earkit.runtime.errors import EarkitError, StorageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what the block wrote there replaces `path` when it ends.

    When the block fails, the old file stands untouched and the temporary one is removed; when the process
    is killed, the old file stands and a hidden `.part` file stays beside it.
    """
    with _beside(path) as temporary:
        mode = temporary.stat().st_mode  # what the umask leaves; the block's writer may set its own
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)
        temporary.replace(path)


def refuse_unwritable(*files: Path) -> None:
    """Say before the work what `replacing` would say after it."""
    for file in files:
        if file.is_dir():
            raise StorageError(f"could not write {file}: there is a folder of that name; give another name")
        with _beside(file):
            pass


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append(path: Path, text: str) -> None:
    """Add to a log; what stands in it stays whatever happens."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(text)
    except OSError as error:
        raise StorageError(f"could not write {path}: {error.strerror or error}; free some space") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give an empty temporary file beside a path, which is gone afterwards; what fails is one sentence."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
    except EarkitError:
        raise
    except OSError as error:
        raise StorageError(
            f"could not write {path}: {error.strerror or error}; free some space or choose another place"
        ) from error
    finally:
        with suppress(OSError):  # one of its own would hide the error that led here
            temporary.unlink()
