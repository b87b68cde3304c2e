"""Making an index of a folder of sounds, and bringing it up to date.

A file keeps its vectors as long as its content is the same, under whatever name; one of the same name, size
and time of change is taken to be the same. Now and then what is done becomes the index, so a run that is
killed and begun again goes on from there. Each file is embedded by itself, and files are in the order of
their names: however often a run was stopped, the index that comes out has the same bytes.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np

from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.checksum import sha256
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, ConfigError, DataError
from earkit.runtime.outputs import ask
from earkit.runtime.search import store
from earkit.runtime.search.model import model_of, refuse_another
from earkit.runtime.search.postings import codes
from earkit.runtime.search.rows import Rows, arrays_of, joined, rows_of
from earkit.runtime.search.spans import BLOCK, cut, samples_of
from earkit.runtime.search.store import Settings, SoundFile
from earkit.runtime.search.vectors import Precision, rounded
from earkit.runtime.sounds import Heard, OpenSound

WINDOW = 2.0
"""Seconds."""
CHECKPOINT_SECONDS = 30.0
"""After so long, what is done becomes the index."""
CHECKPOINT_SHARE = 0.1
"""At most so much of the time goes into that."""

Progress = Callable[[int, int], None]
"""Hears how many of how many files are done."""


@dataclass(frozen=True)
class Options:
    """What is asked of an index; None is what the one that is there has, or the default."""

    window: float | None = None
    """Seconds."""
    hop: float | None = None
    """Seconds; half the window by default."""
    vectors: Precision | None = None
    codes: bool | None = None
    """Keep sparse codes too; the model runs twice for them."""
    graph: bool | None = None
    """Keep a graph over the short vectors; needs usearch."""


@dataclass
class Summary:
    """What a run has done, in files, and what the index has then."""

    embedded: int = 0
    kept: int = 0
    """Their content was embedded before."""
    dropped: int = 0
    """Gone or changed since the last run."""
    resampled: int = 0
    """Of those embedded: of another rate than 16 kHz."""
    averaged: int = 0
    """Of those embedded: of several channels."""
    clipped: int = 0
    """Of those embedded: with samples beyond full scale."""
    skipped: dict[str, str] = field(default_factory=dict)
    """They cannot be used, and why."""
    files: int = 0
    spans: int = 0
    bytes: int = 0

    def hear(self, heard: Heard) -> None:
        """Count a file that was embedded."""
        self.embedded += 1
        self.resampled += heard.source_rate != SAMPLE_RATE
        self.averaged += heard.channels > 1
        self.clipped += heard.clipped > 0


def build_index(
    embedder: Embedder,
    sounds: Mapping[str, Path],
    source: Path,
    folder: Path,
    options: Options,
    *,
    fresh: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> Summary:
    """Make an index of sounds in `folder`, or bring the one that is there up to date.

    sounds: by name, which says where each lies below `source`; what is in the index and not here goes.
    fresh: take nothing over from an index that is there.
    """
    store.claim(folder)
    return _Build(embedder, source, folder, options, fresh=fresh).run(sounds, progress)


class _Build:
    """One run: the index as it was, and the files that are done by now."""

    def __init__(
        self, embedder: Embedder, source: Path, folder: Path, options: Options, *, fresh: bool
    ) -> None:
        self.embedder, self.folder = embedder, folder
        self.source = Path(os.path.abspath(source))  # noqa: PTH100 - Path.absolute keeps `..`
        self.old = None if fresh or not store.is_index(folder) else _Old(folder)
        self.settings = _settings(folder, options, self.old.head.settings if self.old else None)
        self.model = model_of(embedder, codes=self.settings.codes)
        self._refuse_what_cannot_be()
        self.done: dict[str, tuple[SoundFile, Rows]] = {}
        self.by_content = dict(self.old.by_content) if self.old else {}
        self.stands = (self.old.head, tuple(self.old.files.values())) if self.old else None
        self.summary = Summary()

    def run(self, sounds: Mapping[str, Path], progress: Progress) -> Summary:
        """Do every file, and write the index."""
        left = {name: path for name, path in sounds.items() if not self._is_unchanged(name, path)}
        written, pause = time.monotonic(), CHECKPOINT_SECONDS
        for name, path in left.items():
            progress(self._seen(), len(sounds))
            try:
                self._do(name, path)
            except AudioError as error:
                self.summary.skipped[name] = str(error)
            if time.monotonic() - written > pause and self.done:
                begun = time.monotonic()
                self._write(pending=len(sounds) - self._seen())
                written = time.monotonic()
                pause = max(CHECKPOINT_SECONDS, (written - begun) / CHECKPOINT_SHARE)
        progress(len(sounds), len(sounds))
        if not self.done:
            name, reason = next(iter(self.summary.skipped.items()))
            raise DataError(f"none of {len(sounds)} files can be used; {name}: {reason}")
        if self.old:
            now = {(file.name, file.sha256) for file, _ in self.done.values()}
            self.summary.dropped = sum((f.name, f.sha256) not in now for f in self.old.files.values())
        head = self._write(pending=0)
        self.summary.files, self.summary.spans = len(self.done), head.spans
        self.summary.bytes = store.size(self.folder, head)
        return self.summary

    def _refuse_what_cannot_be(self) -> None:
        if self.old:
            head = self.old.head
            refuse_another(self.folder, head.model, self.model)
            # A source that is gone may have been moved here.
            if head.source != str(self.source) and Path(head.source).is_dir():
                raise ConfigError(
                    f"{self.folder} is the index of {head.source}: choose another one for {self.source}"
                )
        ask(self.embedder.info, "sparse" if self.settings.codes else "embedding")
        if self.settings.graph:
            if not self.model.short:
                raise ConfigError(
                    f"the model {self.model.name} was not trained for short vectors: leave --graph out"
                )
            import_module("earkit.runtime.search.graph")  # without usearch, end here

    def _seen(self) -> int:
        return len(self.done) + len(self.summary.skipped)

    def _is_unchanged(self, name: str, path: Path) -> bool:
        """Take over a file that is there as it was."""
        known = self.old.files.get(name) if self.old else None
        try:
            if known is None or (known.size, known.changed) != _state(path):
                return False
        except AudioError:
            return False
        self.done[name] = known, self.by_content[known.sha256]
        self.summary.kept += 1
        return True

    def _do(self, name: str, path: Path) -> None:
        """Embed a file, unless its content is known."""
        # As it was before it is read: what changes it meanwhile is seen the next time.
        file = SoundFile(name, *_state(path), _sha256(path))
        if file.sha256 in self.by_content:
            self.summary.kept += 1
        else:
            self.by_content[file.sha256] = self._embed(path)
        self.done[name] = file, self.by_content[file.sha256]

    def _embed(self, path: Path) -> Rows:
        sound = OpenSound(path, None, BLOCK)
        spans = cut(sound, self.settings.window, self.settings.hop)
        parts = []
        while group := list(islice(spans, max(1, BLOCK // self.settings.window))):
            places = [(begin, begin + len(samples)) for begin, samples in group]
            sounds = [samples for _, samples in group]
            vectors = rounded(self.embedder.embed(sounds, SAMPLE_RATE), self.settings.vectors)
            code = self.embedder.embed(sounds, SAMPLE_RATE, output="sparse") if self.settings.codes else None
            parts.append(Rows(np.array(places), vectors, codes(code) if code else None))
        self.summary.hear(sound.heard)
        return joined(parts)

    def _write(self, pending: int) -> store.Head:
        files, rows = zip(*(self.done[name] for name in sorted(self.done)), strict=True)
        head = store.Head(
            version=store.VERSION,
            data="",
            source=str(self.source),
            model=self.model,
            settings=self.settings,
            spans=sum(len(own.places) for own in rows),
            pending=pending,
        )
        if self.stands and _is_same(self.stands, head, files):
            store.clear(self.folder, self.stands[0])
            return self.stands[0]
        head = store.write(self.folder, head, files, arrays_of(rows, self.model))
        self.stands = head, files
        return head


class _Old:
    """The index that is there, with what can be taken over from it."""

    def __init__(self, folder: Path) -> None:
        self.head = store.read_head(folder)
        arrays = store.read_arrays(folder, self.head)
        files = store.read_files(folder, self.head)
        if store.digest(files, arrays) != self.head.data:
            raise store.damaged(folder, "its content is not what was written")
        self.files = {file.name: file for file in files}
        rows = rows_of(arrays, len(files), self.head.model)
        self.by_content = {file.sha256: own for file, own in zip(files, rows, strict=True)}


def _is_same(
    stands: tuple[store.Head, tuple[SoundFile, ...]], head: store.Head, files: tuple[SoundFile, ...]
) -> bool:
    """Whether the index that stands has these files and says the same of them."""
    old, _ = stands
    return (replace(head, data=old.data, graph_sha256=old.graph_sha256), files) == stands


def _settings(folder: Path, options: Options, old: Settings | None) -> Settings:
    """Fill in what was not asked for, and refuse what an index cannot become."""
    seconds = options.window if options.window is not None else old.window / SAMPLE_RATE if old else WINDOW
    step = options.hop if options.hop is not None else old.hop / SAMPLE_RATE if old else seconds / 2
    window, hop = samples_of(seconds, step)
    asked = Settings(
        window,
        hop,
        options.vectors or (old.vectors if old else "float16"),
        options.codes if options.codes is not None else bool(old and old.codes),
        options.graph if options.graph is not None else bool(old and old.graph),
    )
    for name, value in asdict(asked).items():
        if old and name != "graph" and value != getattr(old, name):
            raise ConfigError(
                f"the index {folder} was made with another {name}: leave it as it is, or make the index "
                "again with --fresh"
            )
    return asked


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change."""
    try:
        state = path.stat()
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror or error}") from error
    return state.st_size, state.st_mtime_ns


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror or error}") from error
