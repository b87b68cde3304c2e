"""Embedding a corpus into one file, so that being killed costs minutes and changes no byte.

Sounds are done in parts, whose files stand in a hidden folder beside the result until it is whole. A part
is named by a digest of all that decides it: its sounds (name, size, time of change), the model file, what is
asked for, and the versions of what computes. So a run finds the parts of the one before it, and no others.
"""

import dataclasses
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.checksum import sha256
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, DataError, StorageError
from earkit.runtime.outputs import Asked, Output, ask
from earkit.runtime.sounds import Heard
from earkit.runtime.vector_files import check_kind, columns, write

PART_FILES = 256
PART_BYTES = 64 << 20  # of sound files; about an hour of mp3

OnError = Literal["skip", "fail"]
Progress = Callable[[int, int], None]
"""Hears how many of how many files are done."""
Say = Callable[[str], None]


@dataclass
class Tally:
    """What a run, or a part of one, came to. Counts are of files."""

    embedded: int = 0
    seconds: float = 0.0
    """Of audio."""
    resampled: int = 0
    averaged: int = 0
    """With several channels."""
    clipped: int = 0
    """With samples beyond full scale."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Those that cannot be used, and why."""

    def hear(self, heard: Heard) -> None:
        """Count a sound."""
        self.embedded += 1
        self.seconds += heard.samples / SAMPLE_RATE
        self.resampled += heard.source_rate != SAMPLE_RATE
        self.averaged += heard.channels > 1
        self.clipped += heard.clipped > 0

    def refuse_nothing(self) -> None:
        """Refuse a run that embedded no file at all."""
        if not self.embedded:
            reason = next(iter(self.skipped.values()))
            raise DataError(f"none of the {len(self.skipped)} files can be embedded; the first: {reason}")

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.embedded + other.embedded,
            self.seconds + other.seconds,
            self.resampled + other.resampled,
            self.averaged + other.averaged,
            self.clipped + other.clipped,
            self.skipped | other.skipped,
        )


def embed_corpus(
    embedder: Embedder,
    sounds: Mapping[str, Path],
    out: Path,
    *,
    output: Output = "embedding",
    dim: int | None = None,
    k: int | None = None,
    on_error: OnError = "fail",
    progress: Progress = lambda _done, _total: None,
    say: Say = lambda _sentence: None,
) -> Tally:
    """Embed files into `out` (see `vector_files`), which appears whole or not at all.

    sounds: files by the names that they get there, in their order.
    on_error: "fail" ends at a file that cannot be used, "skip" leaves it out and counts it. What an
    interrupted run has done is taken over, in both cases.
    """
    check_kind(out, output)
    asked = ask(embedder.info, output, dim, k)
    about = _about(embedder, asked)
    journal = out.with_name(f".{out.name}.parts")
    parts = {journal / _digest(about, part): part for part in _parts(sounds)}
    if kept := sum(file.is_file() for file in parts):
        say(f"going on where an earlier run stopped: {kept} of {len(parts)} parts are done")
    total, made = Tally(), []

    def done(count: int) -> None:
        progress(total.embedded + len(total.skipped) + count, len(sounds))

    for file, part in parts.items():
        tally = _read(file) or _embed(embedder, part, asked, file, on_error=on_error, done=done)
        if on_error == "fail" and tally.skipped:
            raise AudioError(next(iter(tally.skipped.values())))
        total += tally
        done(0)
        made += [file] if tally.embedded else []
    total.refuse_nothing()
    files = [name for name in sounds if name not in total.skipped]
    _finish(made, out, asked.output, files, about | {"skipped": list(total.skipped)})
    return total


def _finish(
    parts: Sequence[Path], out: Path, output: Output, files: list[str], about: dict[str, Any]
) -> None:
    """Join the parts to the result, and remove them."""
    journal = parts[0].parent
    whole = journal / out.name  # what a kill leaves half-written goes with the folder
    with replacing(whole) as temporary:
        write(temporary, out.suffix, parts, output=output, files=files, about=about)
    if out.suffix == ".npy":
        write_text(out.with_suffix(".files.json"), json.dumps(files, indent=0))
    try:
        whole.replace(out)
    except OSError as error:
        raise StorageError(f"could not write {out}: {error.strerror}; choose another place") from error
    shutil.rmtree(journal, ignore_errors=True)


def _parts(sounds: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    part: dict[str, Path] = {}
    size = 0
    for name, path in sounds.items():
        part[name] = path
        size += max(0, _stamp(path)[0])
        if len(part) == PART_FILES or size >= PART_BYTES:
            yield part
            part, size = {}, 0
    if part:
        yield part


def _about(embedder: Embedder, asked: Asked) -> dict[str, Any]:
    """Describe what makes the vectors."""
    from importlib.metadata import version  # noqa: PLC0415 - a third of what `kit embed` imports of Python's own

    info = embedder.info
    return {
        "model": info.name,
        "model_sha256": sha256(embedder.path),
        "output": asked.output,
        **({"dim": asked.dim} if asked.output == "embedding" else {}),
        **({"k": asked.k, "width": info.sparse.width} if asked.output == "sparse" and info.sparse else {}),
        **({"classes": info.classes} if asked.output == "scores" else {}),
        **({"frame_rate": embedder.frame_rate} if asked.is_by_frame else {}),
        "versions": {name: version(name) for name in ("earkit", "onnxruntime", "soundfile", "soxr")},
    }


def _digest(about: Mapping[str, Any], part: Mapping[str, Path]) -> str:
    stamps = [(name, *_stamp(path)) for name, path in part.items()]
    return hashlib.sha256(json.dumps([about, stamps]).encode()).hexdigest()[:24] + ".npz"


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change, of a file that is there."""
    if not path.is_file():
        return -1, -1
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _embed(
    embedder: Embedder,
    part: Mapping[str, Path],
    asked: Asked,
    file: Path,
    *,
    on_error: OnError,
    done: Callable[[int], None],
) -> Tally:
    """Embed a part and write its file."""
    tally = Tally()
    results: list[Any] = []
    answers = embedder.embed_iter(
        part.values(),
        dim=asked.dim if asked.output == "embedding" else None,
        output=asked.output,
        k=asked.k if asked.output == "sparse" else None,
        on_error="yield",
        heard=lambda _, heard: tally.hear(heard),
    )
    for count, (name, (_, result)) in enumerate(zip(part, answers, strict=True), start=1):
        if not isinstance(result, AudioError):
            results.append(result)
        elif on_error == "fail":
            raise result
        else:
            tally.skipped[name] = str(result)
        if count < len(part):
            done(count)
    made = columns(asked.output, results) if results else {}
    tallied = np.array(json.dumps(dataclasses.asdict(tally)))
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, tally=tallied, **made)
    return tally


def _read(file: Path) -> Tally | None:
    """Read what an earlier run noted of a part, if it did it."""
    try:
        with np.load(file) as part:
            return Tally(**json.loads(str(part["tally"])))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
