"""Opening a corpus: folders, CSV/TSV manifests (fairseq's too) and tar shards become a list of clips.

What cannot be used is skipped with a reason and never ends the scan; a corpus in which nothing can be used
is an error.
"""

import csv
import dataclasses
import glob
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from earkit.runtime.atomic import write_text
from earkit.runtime.audio import Audio, AudioInfo, probe, read
from earkit.runtime.errors import AudioError, DataError

SUFFIXES = frozenset(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf .w64".split())
MANIFESTS = frozenset((".csv", ".tsv"))
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MIN_SECONDS = 0.1

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clip:
    """One recording: a file, or `size` bytes at `offset` of a tar shard."""

    name: str
    path: str
    frames: int = 0
    rate: int = 0
    offset: int = 0
    size: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length."""
        return self.frames / self.rate if self.rate else 0.0

    def read(self, *, start: float = 0.0, seconds: float | None = None) -> Audio:
        """Decode it or a part."""
        return read(self._source(), start=start, seconds=seconds, name=self.name)

    def probe(self) -> AudioInfo:
        """Read its header."""
        return probe(self._source(), self.name)

    def _source(self) -> bytes | str:
        if not self.size:
            return self.path
        try:
            with Path(self.path).open("rb") as shard:
                shard.seek(self.offset)
                return shard.read(self.size)
        except OSError as error:
            raise AudioError(f"{self.name}: cannot read its shard: {error.strerror}") from error


@dataclass(frozen=True)
class Skipped:
    """A recording that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Corpus:
    """Usable clips in a fixed order."""

    source: str
    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of all clips."""
        return sum(clip.seconds for clip in self.clips)

    def save(self, path: Path) -> None:
        """Write the index, so that a resumed run sees the same clips without scanning again."""
        rows = [
            {"source": self.source},
            *map(dataclasses.asdict, self.clips),
            *map(dataclasses.asdict, self.skipped),
        ]
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """Undo `save`."""
        try:
            head, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            clips = tuple(Clip(**row) for row in rows if "reason" not in row)
            skipped = tuple(Skipped(**row) for row in rows if "reason" in row)
            return cls(head["source"], clips, skipped)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is not a corpus index ({error}); start again with --fresh") from error


class SkippedLog:
    """`skipped.jsonl`: every distinct name and reason once, also over resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[Skipped] = set()
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self._known = {Skipped(**json.loads(line)) for line in lines if line.endswith("}")}

    def __len__(self) -> int:
        return len({skipped.name for skipped in self._known})

    def add(self, skipped: Iterable[Skipped]) -> None:
        """Append what is new."""
        new = [s for s in dict.fromkeys(skipped) if s not in self._known]
        if new:
            self._known.update(new)
            with self.path.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps(dataclasses.asdict(s), ensure_ascii=False) + "\n" for s in new)


def open_corpus(
    source: str | Path,
    *,
    split: str | None = None,
    min_seconds: float = MIN_SECONDS,
    progress: Progress | None = None,
) -> Corpus:
    """Find the clips of a folder, manifest, tar shard or glob of them, and measure those of unknown length.

    A folder with a `manifest.csv` is that manifest. `split` keeps the rows of one split, where a manifest
    has such a column.
    """
    found = list(_find(str(source)))
    candidates = [c for c in found if isinstance(c, Clip) and _of_split(c, split)]
    skipped = [s for s in found if isinstance(s, Skipped)]
    clips = []
    with ThreadPoolExecutor() as pool:
        for done, result in enumerate(pool.map(lambda c: _measure(c, min_seconds), candidates), 1):
            if isinstance(result, Clip):
                clips.append(result)
            else:
                skipped.append(result)
            if progress is not None:
                progress(done, len(candidates))
    if not clips:
        why = f": {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        of_split = f" of split {split}" if split and found and not candidates else ""
        raise DataError(f"{source} holds no usable audio{of_split}; {len(skipped)} files were skipped{why}")
    return Corpus(str(source), tuple(clips), tuple(skipped))


def _of_split(clip: Clip, split: str | None) -> bool:
    return split is None or clip.labels.get("split", split) == split


def _measure(clip: Clip, min_seconds: float) -> Clip | Skipped:
    if clip.frames and clip.rate and not Path(clip.path).is_file():
        return Skipped(clip.name, "vanished: the manifest names it, but there is no such file")
    try:
        if not (clip.frames and clip.rate):
            info = clip.probe()
            clip = dataclasses.replace(clip, frames=info.frames, rate=info.rate)
    except AudioError as error:
        return Skipped(clip.name, str(error))
    if clip.seconds < min_seconds:
        return Skipped(clip.name, f"too short: {clip.seconds:.3f} s, at least {min_seconds} s are needed")
    return clip


def _find(source: str) -> Iterator[Clip | Skipped]:
    path = Path(source)
    if source.lower().endswith(COMPRESSED):
        raise DataError(
            f"{source} is compressed, so its clips cannot be addressed; unpack it to a plain .tar"
        )
    if path.is_dir():
        manifest = path / "manifest.csv"
        return _manifest(manifest) if manifest.is_file() else _folder(path)
    if path.suffix in MANIFESTS and path.is_file():
        return _manifest(path)
    if path.is_file():
        return _shard(path) if path.suffix == ".tar" else iter([Clip(source, source)])
    matches = sorted(glob.glob(source))  # noqa: PTH207 - the pattern may be absolute
    if not matches:
        raise DataError(f"there is no {source}: give a folder, a .csv or .tsv manifest, or .tar shards")
    return (found for match in matches for found in _find(match))


def _folder(folder: Path) -> Iterator[Clip | Skipped]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            yield Clip(str(path.relative_to(folder)), str(path))
        elif path.suffix == ".tar":
            yield from _shard(path)


def _shard(path: Path) -> Iterator[Clip | Skipped]:
    """Index a tar; nothing is unpacked, so hostile member names do no harm."""
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if member.isreg() and Path(member.name).suffix.lower() in SUFFIXES:
                    name = f"{path.name}/{member.name}"
                    if member.size:
                        yield Clip(name, str(path), offset=member.offset_data, size=member.size)
                    else:
                        yield Skipped(name, "empty (0 bytes)")
    except (tarfile.TarError, OSError) as error:
        yield Skipped(str(path), f"is not a whole tar shard: {error}")


def _manifest(path: Path) -> Iterator[Clip | Skipped]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"manifest {path} is not UTF-8 text: {error}") from error
    if not lines:
        raise DataError(f"manifest {path} is empty")
    if path.suffix == ".tsv" and "\t" not in lines[0]:
        return _fairseq(path, lines)
    rows = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
    if "path" not in (rows.fieldnames or ()):
        raise DataError(
            f"manifest {path} needs a column `path`; its columns are {', '.join(rows.fieldnames or ())}"
        )
    return (_row(path.parent, row) for row in rows)


def _row(folder: Path, row: dict[str, str]) -> Clip | Skipped:
    labels = {k: v for k, v in row.items() if isinstance(k, str) and v}
    name = labels.pop("path", "")
    if not name:
        return Skipped(str(row), "the manifest row has no path")
    try:
        rate = int(labels.get("sample_rate", 0))
        frames = int(labels.get("samples", 0)) or round(float(labels.get("seconds", 0)) * rate)
    except ValueError as error:
        return Skipped(name, f"the manifest gives no number for its length: {error}")
    return Clip(name, str(folder / name), max(frames, 0), max(rate, 0), labels=labels)


def _fairseq(path: Path, lines: list[str]) -> Iterator[Clip | Skipped]:
    """First the root folder, then `relative path <tab> samples`; the rate is only known to the files."""
    root = Path(lines[0].strip())
    if not root.is_absolute():
        root = path.parent / root
    for line in lines[1:]:
        name = line.split("\t")[0]
        if name:
            yield Clip(name, str(root / name))
