"""Debian's packages, unpacked and not installed: neither root nor the package lists of the system are needed.

They are those of the day, and apt checks Debian's signatures.
"""

import getpass
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from earkit.benchmarks.packages import staging
from earkit.runtime.errors import DataError


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Give a folder that becomes `folder` when everything is in it; the one that it is in is removed."""
    with staging(folder) as place:
        made = place / "made"
        made.mkdir()
        yield made
        made.replace(folder)


@dataclass(frozen=True)
class Apt:
    """apt with lists and archives of its own, for those of the system may be missing, old, or not ours.

    folder: for these. what, remedy: for the sentence where it fails. settings: further ones, as NAME=VALUE.
    """

    folder: Path
    what: str
    remedy: str
    settings: tuple[str, ...] = ()

    def needed(self, *packages: str) -> list[str]:
        """Give these packages, and those that they need and that are not installed."""
        self._apt("update")
        plan = self._apt("--simulate", "--no-install-recommends", "install", *packages)
        # Its lines are `Inst NAME [OLD VERSION] (VERSION …`.
        return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Fetch packages, and nothing that they need, into a folder."""
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            archives = Path(name)
            self._apt("download", *packages, folder=archives)
            for archive in sorted(archives.glob("*.deb")):
                self._run(["dpkg", "-x", str(archive), str(into)], archives)

    def _apt(self, *arguments: str, folder: Path | None = None) -> str:
        lists, cache = self.folder / "lists", self.folder / "cache"
        for place in (lists / "partial", cache / "archives" / "partial"):
            place.mkdir(parents=True, exist_ok=True)
        settings = (
            f"Dir::State::Lists={lists}",
            f"Dir::Cache={cache}",
            f"APT::Sandbox::User={getpass.getuser()}",
            "Debug::NoLocking=1",
            *self.settings,
        )
        options = [f"--option={setting}" for setting in settings]
        return self._run(["apt-get", "--quiet", *options, *arguments], folder or self.folder)

    def _run(self, command: list[str], folder: Path) -> str:
        done = subprocess.run(  # noqa: S603 - no shell
            command, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
            reason = "; ".join(said[:2]) or f"{command[0]} failed"
            raise DataError(f"{self.what} cannot be fetched ({reason}): {self.remedy}")
        return done.stdout
