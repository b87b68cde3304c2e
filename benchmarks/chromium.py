"""Chromium, to try in it what is made for browsers: one of this machine, or Debian's, unpacked in the cache.

Its version is whatever Debian has on that day, for browsers age, and apt checks Debian's signatures. It is
not installed: neither root nor the package lists of the system are needed.
"""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import ConfigError, DataError, StorageError

VARIABLE = "CHROMIUM"
PROGRAMS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
PACKAGE = "chromium-headless-shell"


@dataclass(frozen=True)
class Chromium:
    """A browser that can be started."""

    program: Path
    libraries: tuple[Path, ...] = ()
    """Folders of shared libraries that came with it."""

    @property
    def environment(self) -> dict[str, str]:
        """With which to start it."""
        folders = [str(folder) for folder in self.libraries] + [os.environ.get("LD_LIBRARY_PATH", "")]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


def find_chromium() -> Chromium:
    """Give what `CHROMIUM` names, or an installed one, or that of the cache, or fetch it there (100 MB)."""
    if wanted := os.environ.get(VARIABLE):
        if program := shutil.which(wanted):
            return Chromium(Path(program))
        raise ConfigError(f"{VARIABLE} is {wanted}, which is no program: give the path of Chromium or Chrome")
    if program := next(filter(None, map(shutil.which, PROGRAMS)), None):
        return Chromium(Path(program))
    folder = cache_folder() / "chromium"
    if not folder.is_dir():
        _fetch(folder)
    found = Chromium(folder / "usr/lib/chromium" / PACKAGE, tuple(sorted(_library_folders(folder))))
    if not found.program.is_file():
        raise DataError(f"{found.program} is not there: remove {folder}, so that it is fetched again")
    return found


def _library_folders(folder: Path) -> set[Path]:
    return {file.parent for file in folder.rglob("*.so*") if file.is_file()}


def _fetch(folder: Path) -> None:
    """Unpack the package, and those that it needs and this machine does not have."""
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise DataError(
                f"there is no Chromium on this machine and no {program} to fetch Debian's: install Chromium "
                f"or Chrome, or name its program in {VARIABLE}"
            )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as staging:
            root = Path(staging) / "root"
            root.mkdir()
            for archive in _download(Path(staging)):
                _run(["dpkg", "-x", str(archive), str(root)], Path(staging))
            root.replace(folder)
    except OSError as error:
        raise StorageError(
            f"could not write below {folder}: {error.strerror or error}; free some space"
        ) from error


def _download(staging: Path) -> list[Path]:
    """Fetch the archives with lists of our own, for those of the system may be missing, old, or not ours."""
    lists, cache, archives = (staging / name for name in ("lists", "cache", "archives"))
    for place in (lists / "partial", cache / "archives" / "partial", archives):
        place.mkdir(parents=True)
    settings = {
        "Dir::State::Lists": lists,
        "Dir::Cache": cache,
        "APT::Sandbox::User": getpass.getuser(),
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "--quiet", *(f"--option={name}={value}" for name, value in settings.items())]
    _run([*apt, "update"], archives)
    plan = _run([*apt, "--simulate", "--no-install-recommends", "install", PACKAGE], archives)
    _run([*apt, "download", *_chosen(plan.splitlines())], archives)
    return sorted(archives.glob("*.deb"))


def _chosen(plan: Sequence[str]) -> Iterator[str]:
    """Read apt's plan, whose lines are `Inst NAME [OLD VERSION] (VERSION …`."""
    for line in plan:
        if line.startswith("Inst "):
            yield line.split()[1]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(  # noqa: S603 - no shell
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        raise DataError(
            f"Chromium cannot be fetched ({'; '.join(said[:2]) or f'{command[0]} failed'}): install it, or "
            f"name its program in {VARIABLE}"
        )
    return done.stdout
