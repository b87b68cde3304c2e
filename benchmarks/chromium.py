"""Chromium, to try in it what is made for browsers: one of this machine, or Debian's, unpacked in the cache.

Its version is whatever Debian has on that day, for browsers age.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from earkit.benchmarks.debian import Apt, whole
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import ConfigError, DataError

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
    with whole(folder) as made:
        apt = Apt(made.parent, "Chromium", f"install it, or name its program in {VARIABLE}")
        apt.unpack(apt.needed(PACKAGE), made)
