"""Corpora: which clips there are, where each lies and how long it is; not their sound.

A corpus is a folder, a manifest (CSV, TSV, fairseq's TSV) or tar shards. What cannot be used is listed with
its reason and never ends a scan; a corpus in which nothing can be used is an error.
"""

import glob
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from earkit.distill.data import manifests, shards
from earkit.runtime.atomic import append, replacing
from earkit.runtime.audio import SAMPLE_RATE, Audio, AudioInfo, probe, read
from earkit.runtime.errors import AudioError, DataError
from earkit.runtime.sound_files import FOREIGN, SOUNDS, files_below

MANIFESTS = ("manifest.csv", "manifest.tsv")

Progress = Callable[[int, int], None]
"""Hears how many of how many files were looked at."""

_VERSION = 1  # of the index
_THREADS = 8  # headers are small: disks and networks answer several questions at once
_CHUNK = 1024


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Clip:
    """One sound of a corpus."""

    name: str
    """For people: as the manifest, the folder or the shard calls it."""
    path: str
    """The file, absolute; or the shard, when `offset` and `size` say where in it."""
    frames: int
    """Samples of one channel at `rate`."""
    rate: int
    """Of the source, in Hz."""
    channels: int | None = None
    """Unknown where a manifest gave the length and no header was read."""
    offset: int | None = None
    size: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / self.rate

    @property
    def samples(self) -> int:
        """Whole samples that it gives at 16 kHz."""
        return self.frames * SAMPLE_RATE // self.rate

    def read(self, start: float = 0.0, seconds: float | None = None) -> Audio:
        """Decode the clip, or a part of it."""
        with _source(self.path, self.offset, self.size) as source:
            return read(source, start=start, seconds=seconds, name=self.name)


@dataclass(frozen=True)
class Corpus:
    """The clips that can be used, in a fixed order, and what was left out."""

    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...] = ()
    source: str = ""

    @cached_property
    def seconds(self) -> float:
        """Length of all clips."""
        return sum(clip.seconds for clip in self.clips)

    def save(self, path: Path) -> None:
        """Write an index from which `load` gives the same clips in the same order, without a scan."""
        head = {
            "version": _VERSION,
            "source": self.source,
            "clips": len(self.clips),
            "skipped": len(self.skipped),
        }
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
            for entry in (head, *map(_plain, self.clips), *map(vars, self.skipped)):
                lines.write(json.dumps(entry) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """Read what `save` wrote."""
        try:
            with path.open(encoding="utf-8") as lines:
                head, *entries = map(json.loads, lines)
            if head["version"] != _VERSION or len(entries) != head["clips"] + head["skipped"]:
                raise ValueError(f"version {head['version']}, {len(entries)} entries")  # noqa: TRY301 - joins the damage below
            clips = tuple(Clip(**entry) for entry in entries[: head["clips"]])
            return cls(clips, tuple(Skipped(**entry) for entry in entries[head["clips"] :]), head["source"])
        except OSError as error:
            raise DataError(
                f"cannot read the corpus index {path} ({error.strerror or error}): begin afresh"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"the corpus index {path} is damaged ({error}): begin afresh") from error


class SkippedLog:
    """`skipped.jsonl`: each (name, reason) once, also when a run is resumed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: set[Skipped] = set()
        self._torn = False
        if path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            self._torn = bool(text) and not text.endswith("\n")  # by a kill within a write
            self._known.update(_whole_entries(text))

    def __len__(self) -> int:
        """Count the names: one clip may have been skipped for several reasons."""
        return len({skipped.name for skipped in self._known})

    def add(self, skipped: Iterable[Skipped]) -> None:
        """Append those that are not in it yet."""
        new = [s for s in dict.fromkeys(skipped) if s not in self._known]
        if not new:
            return
        text = "\n" * self._torn + "".join(json.dumps(vars(s)) + "\n" for s in new)
        append(self._path, text)
        self._torn = False
        self._known.update(new)


def open_corpus(
    source: str | Path,
    *,
    split: str | None = None,
    min_seconds: float = 0.1,
    progress: Progress | None = None,
) -> Corpus:
    """Find the clips of a folder, a manifest, tar shards, a glob of files (`data-*.tar`) or one file.

    A folder is searched to its depths, without hidden files, in sorted order; its `manifest.csv` or
    `manifest.tsv` rules where there is one. `split` keeps the rows of that split where a manifest has such a
    column. A manifest that gives `samples` and `sample_rate` is believed; all other headers are read.
    """
    found = list(_find(str(source), split))
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(found), _CHUNK):
            # In chunks, so that an interrupted scan ends soon.
            for entry in pool.map(lambda f: _measure(f, min_seconds), found[first : first + _CHUNK]):
                if isinstance(entry, Clip):
                    clips.append(entry)
                else:
                    skipped.append(entry)
                if progress:
                    progress(len(clips) + len(skipped), len(found))
    if not clips:
        nothing = "no sound in it" + (f", or none of the split {split}" if split else "")
        what = f"{len(skipped)} skipped, first: {skipped[0].reason}" if skipped else nothing
        raise DataError(f"nothing in {source} can be used ({what}): give wav, flac, ogg, opus or mp3 files")
    return Corpus(tuple(clips), tuple(skipped), str(Path(source).absolute()))


@dataclass(frozen=True)
class _Found:
    """A clip that was named, and not yet looked at."""

    name: str
    path: Path
    frames: int | None = None
    rate: int | None = None
    offset: int | None = None
    size: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def _find(source: str, split: str | None) -> Iterator[_Found | Skipped]:
    path = Path(os.path.abspath(source))  # noqa: PTH100 - Path.absolute keeps `..`, resolve follows links
    if path.is_dir():
        yield from _find_in_folder(path, split)
    elif path.is_file() and path.suffix.lower() in {".csv", ".tsv"}:
        yield from _find_in_manifest(path, split)
    elif path.is_file():
        if not _is_sound(path.name) and not _is_shard(path.name):
            raise DataError(f"{source} is no corpus: give a folder, a .csv or .tsv manifest, or .tar shards")
        yield from _find_file(path, path.name)
    else:
        matches = sorted(glob.glob(source)) if glob.has_magic(source) else []  # noqa: PTH207 - patterns may be absolute
        if not matches:
            raise DataError(f"there is nothing at {source}: give a folder, a manifest, or tar shards")
        for match in matches:
            yield from _find_file(Path(match).absolute(), match)


def _find_in_folder(folder: Path, split: str | None) -> Iterator[_Found | Skipped]:
    for manifest in (folder / name for name in MANIFESTS):
        if manifest.is_file():
            yield from _find_in_manifest(manifest, split)
            return
    for path in sorted(files_below(folder)):
        yield from _find_file(path, path.relative_to(folder).as_posix())


def _find_file(path: Path, name: str) -> Iterator[_Found | Skipped]:
    if _is_sound(name):
        yield _Found(name, path)
    elif name.lower().endswith(FOREIGN):
        yield Skipped(name, "a format that libsndfile does not read: convert it to flac, or leave it out")
    elif _is_shard(name):
        try:
            for member in shards.members(path):
                if _is_sound(member.name):
                    yield _Found(f"{name}/{member.name}", path, offset=member.offset, size=member.size)
        except DataError as error:
            yield Skipped(name, str(error))


def _find_in_manifest(manifest: Path, split: str | None) -> Iterator[_Found | Skipped]:
    for row in manifests.rows(manifest, split):
        if row.path:
            place = Path(os.path.abspath(row.place))  # noqa: PTH100 - as above
            yield _Found(row.path, place, row.frames, row.rate, labels=row.labels)
        else:
            yield Skipped(f"{manifest.name}:{row.line}", f"line {row.line} of {manifest} has no path")


def _is_sound(name: str) -> bool:
    """By its name; AppleDouble files (`._a.wav`) are hidden ones."""
    return name.lower().endswith(SOUNDS) and not name.rpartition("/")[2].startswith(".")


def _is_shard(name: str) -> bool:
    return name.lower().endswith((shards.SUFFIX, *shards.COMPRESSED))


def _measure(found: _Found | Skipped, min_seconds: float) -> Clip | Skipped:
    if isinstance(found, Skipped):
        return found
    try:
        info = _info(found)
    except AudioError as error:
        return Skipped(found.name, str(error))
    if info.frames < min_seconds * info.rate:
        return Skipped(found.name, f"shorter than {min_seconds:g} s")
    return Clip(
        found.name,
        str(found.path),
        info.frames,
        info.rate,
        info.channels or None,
        found.offset,
        found.size,
        found.labels,
    )


def _info(found: _Found) -> AudioInfo:
    if found.frames is not None and found.rate is not None:
        if not found.path.is_file():
            raise AudioError(f"cannot read {found.name}: no such file {found.path}")
        return AudioInfo(found.rate, 0, found.frames)
    with _source(str(found.path), found.offset, found.size) as source:
        return probe(source, name=found.name)


def _source(path: str, offset: int | None, size: int | None) -> AbstractContextManager[Path | BinaryIO]:
    if offset is None or size is None:
        return nullcontext(Path(path))
    try:
        window = shards.Window(Path(path), offset, size)
    except OSError as error:
        raise AudioError(f"cannot read the shard {path}: {error.strerror or error}") from error
    return cast("AbstractContextManager[BinaryIO]", io.BufferedReader(window))


def _plain(clip: Clip) -> dict[str, Any]:
    return vars(clip) | {"labels": dict(clip.labels)}


def _whole_entries(text: str) -> Iterator[Skipped]:
    for line in text.splitlines():
        try:
            yield Skipped(**json.loads(line))
        except (ValueError, TypeError):  # a torn line: at worst an entry is written twice
            continue
