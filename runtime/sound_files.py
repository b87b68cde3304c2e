"""Which sound files there are in folders."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earkit.runtime.errors import DataError

SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
FOREIGN = (".m4a", ".aac", ".mp4", ".webm", ".wma", ".mka", ".amr", ".ape", ".wv")
"""Formats of sound that libsndfile does not read."""


@dataclass(frozen=True)
class SoundFiles:
    """Sounds in the order of their names, each once."""

    paths: dict[str, Path]
    """By name: where a sound lies below the folder that all places share. So no name tells of a machine."""
    doubles: int
    """Times that a file was met again."""
    foreign: dict[str, int]
    """Files in folders, by suffix, that cannot be read."""


def find_sounds(places: Sequence[Path]) -> SoundFiles:
    """Take files as they are, and of folders all sounds to their depths that are not hidden."""
    found: dict[str, Path] = {}
    foreign: Counter[str] = Counter()
    met = 0
    for place in places:
        if not place.exists():
            raise DataError(f"there is nothing at {place}: give sound files, or folders of them")
        for path in files_below(place) if place.is_dir() else [place]:
            suffix = path.suffix.lower()
            if suffix in SOUNDS or path == place:
                met += 1
                found.setdefault(_absolute(path), path)
            elif suffix in FOREIGN:
                foreign[suffix] += 1
    if not found:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in foreign.items())
        hint = f" that can be read, only {kinds}" if foreign else ""
        where = ", ".join(map(str, places))
        raise DataError(f"there is no sound in {where}{hint}: give wav, flac, ogg, opus or mp3 files")
    shared = os.path.commonpath([_absolute(place if place.is_dir() else place.parent) for place in places])
    names = {Path(os.path.relpath(file, shared)).as_posix(): path for file, path in found.items()}
    return SoundFiles(dict(sorted(names.items())), met - len(found), dict(foreign))


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps `..`, resolve follows links


def files_below(folder: Path) -> Iterator[Path]:
    """Give all files that are not hidden; links are followed, but into no folder twice."""
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in files if not name.startswith("."))
