"""Fetching one large file over HTTP, going on where an earlier try stopped."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path

from earkit.runtime.errors import ConfigError, EarkitError, StorageError, TeacherNotFoundError

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and, where the server says so, those of the whole file."""

CHUNK = 2**20
TIMEOUT = 30.0  # seconds without any answer


def download(url: str, target: Path, progress: Progress | None = None) -> None:
    """Fetch `url` to `target`, by way of `target.part`.

    A resumed part is only added to when the server confirms that its file is still the same one, by the
    entity tag or date that it gave the first time (`target.part.tag`); otherwise all is fetched again.
    """
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"{url} is no http or https address")
    part, tag = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.tag")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open(url, part, tag) as response:
            _receive(url, response, part, tag, progress)
        part.replace(target)
        tag.unlink(missing_ok=True)
    except EarkitError:
        raise
    except OSError as error:
        raise StorageError(f"could not write {part}: {error.strerror or error}; free some space") from error


def _open(url: str, part: Path, tag: Path) -> HTTPResponse:
    """Ask for what is missing of `part`; the server decides whether it sends the rest (206) or all (200)."""
    have = part.stat().st_size if part.is_file() and tag.is_file() else 0
    request = urllib.request.Request(url)  # noqa: S310 - the scheme was checked
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text(encoding="latin-1"))
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - the same
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing lies behind what is there: it is whole or was cut anew
            tag.unlink()
            return _open(url, part, tag)
        raise TeacherNotFoundError(
            f"{url} cannot be fetched: the server answers {error.code} {error.reason}"
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TeacherNotFoundError(f"{url} cannot be fetched: {reason}") from error
    if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        response.close()
        raise TeacherNotFoundError(
            f"{url} cannot be resumed: the server sent another part than was asked for"
        )
    return response


def _receive(url: str, response: HTTPResponse, part: Path, tag: Path, progress: Progress | None) -> None:
    resumed = response.status == 206
    done = part.stat().st_size if resumed else 0
    length = response.headers.get("Content-Length")
    total = done + int(length) if length and length.isdecimal() else None
    with part.open("ab" if resumed else "wb") as file:
        if not resumed:
            _remember(response.headers, tag)
        for chunk in _chunks(url, response):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if total is not None and done != total:
        raise TeacherNotFoundError(
            f"{url} broke off after {done} of {total} bytes; the same command goes on from there"
        )


def _remember(headers: HTTPMessage, tag: Path) -> None:
    """Keep what identifies this very version of the file; a weak entity tag does not."""
    strong = headers.get("ETag") if not headers.get("ETag", "W/").startswith("W/") else None
    version = strong or headers.get("Last-Modified")
    if version:
        tag.write_text(version, encoding="latin-1")
    else:
        tag.unlink(missing_ok=True)


def _chunks(url: str, response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise TeacherNotFoundError(
            f"{url} broke off ({error}); the same command goes on from there"
        ) from error
