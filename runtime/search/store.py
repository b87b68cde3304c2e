"""An index on disk: `index.json`, and the folder that it names with arrays (.npy) and the list of files.

A folder is named after a digest of what is in it and never changes; an update writes another one, then
replaces `index.json`, then removes what nothing names. So whoever opens an index gets a whole one, the old or
the new, and a writer that is killed leaves at worst a folder that the next one removes.
"""

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import CheckpointError, StorageError
from earkit.runtime.search.vectors import Precision

VERSION = 2
HEAD, FILES, GRAPH = "index.json", "files.json", "graph.usearch"

T = TypeVar("T", bound="Model | Settings | SoundFile | Head")
Arrays = Mapping[str, NDArray[Any]]

_FOLDER = re.compile(r"[0-9a-f]{16}")
_OURS = re.compile(rf"{_FOLDER.pattern}|{re.escape(HEAD)}|\..*\.part")


@dataclass(frozen=True)
class Model:
    """Which model made the vectors, and what it gives."""

    name: str
    path: str
    sha256: str
    """Of the float weights that the file was made of, or of the file where it does not say."""
    precision: str
    depth: int
    dim: int
    short: int
    """Width of the short vectors; 0: none."""
    width: int
    """Latents of the sparse code; 0: no codes were made."""
    k: int


@dataclass(frozen=True)
class Settings:
    """How sound was cut, and what is kept of each span."""

    window: int
    """Samples at 16 kHz."""
    hop: int
    vectors: Precision
    codes: bool
    graph: bool


@dataclass(frozen=True)
class SoundFile:
    """A file as it was when it was indexed."""

    name: str
    """Below the source, with / between folders."""
    size: int
    changed: int
    """Nanoseconds, as the file system counts them."""
    sha256: str


@dataclass(frozen=True)
class Head:
    """What `index.json` says."""

    version: int
    data: str
    """The folder beside it."""
    source: str
    model: Model
    settings: Settings
    spans: int
    pending: int
    """Files that are not in it yet: a run was stopped, or still runs."""
    graph_sha256: str = ""


def is_index(folder: Path) -> bool:
    """Whether there is an index, whole or damaged."""
    return (folder / HEAD).is_file()


def claim(folder: Path) -> None:
    """Refuse a folder in which something else is."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file: give a folder for the index")
    strangers = [each.name for each in folder.glob("*") if not _OURS.fullmatch(each.name)]
    if strangers:
        raise StorageError(f"{folder} is no index and holds {strangers[0]}: choose another folder")


def read_head(folder: Path) -> Head:
    """Read and check `index.json`."""
    if not is_index(folder):
        raise CheckpointError(f"there is no index in {folder}: make one with `kit index DIR {folder}`")
    try:
        values = json.loads((folder / HEAD).read_text(encoding="utf-8"))
        version = values["version"]
        if version == VERSION:
            model, settings = _built(Model, values["model"]), _built(Settings, values["settings"])
            head = _built(Head, values | {"model": model, "settings": settings})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(folder, f"{HEAD}: {error}") from error
    if version != VERSION:
        raise CheckpointError(
            f"{folder} is an index of version {version!r}, and this version of earkit reads {VERSION}: "
            "update with `pip install -U earkit`, or make the index again with --fresh"
        )
    if not _FOLDER.fullmatch(head.data) or head.settings.vectors not in get_args(Precision):
        raise damaged(folder, f"{HEAD} says what cannot be")
    return head


def read_arrays(folder: Path, head: Head) -> dict[str, NDArray[Any]]:
    """Map all arrays into memory."""
    made = {}
    for name, (kind, shape) in _expected(head).items():
        file = folder / head.data / f"{name}.npy"
        try:
            # A plain array on the mapped memory: slicing a memmap itself is slow.
            array = np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise damaged(folder, f"{file.name}: {error}") from error
        if array.dtype != kind or array.shape != shape:
            raise damaged(folder, f"{file.name} is {array.dtype} {array.shape}, not {kind} {shape}")
        made[name] = array
    return made


def read_files(folder: Path, head: Head) -> tuple[SoundFile, ...]:
    """Read which files there are; spans count them from 0."""
    try:
        rows = json.loads((folder / head.data / FILES).read_text(encoding="utf-8"))
        return tuple(_built(SoundFile, row) for row in rows)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder, f"{FILES}: {error}") from error


def write(folder: Path, head: Head, files: tuple[SoundFile, ...], arrays: Arrays) -> Head:
    """Make this the index; gives the head with the name of its folder."""
    head = dataclasses.replace(head, data=digest(files, arrays))
    place = folder / head.data
    for name, array in arrays.items():
        with replacing(place / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    write_text(place / FILES, _listed(files))
    if head.settings.graph and not head.pending:
        from earkit.runtime.search import graph  # noqa: PLC0415 - usearch is an extra

        head = dataclasses.replace(head, graph_sha256=graph.write(place / GRAPH, arrays["short"]))
    write_text(folder / HEAD, json.dumps(dataclasses.asdict(head), indent=1) + "\n")
    clear(folder, head)
    return head


def clear(folder: Path, head: Head) -> None:
    """Remove what earlier writers left."""
    for each in folder.iterdir():
        if each.name not in {HEAD, head.data} and _OURS.fullmatch(each.name):
            _remove(each)
    for part in (folder / head.data).glob(".*.part"):
        _remove(part)


def size(folder: Path, head: Head) -> int:
    """Bytes of an index."""
    return sum(file.stat().st_size for file in [folder / HEAD, *(folder / head.data).iterdir()])


def _remove(place: Path) -> None:
    """Try: what a reader on Windows has open stays until the next time."""
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        place.unlink(missing_ok=True)


def digest(files: tuple[SoundFile, ...], arrays: Arrays) -> str:
    """Name the folder of these."""
    made = hashlib.sha256(_listed(files).encode())
    for name, array in sorted(arrays.items()):
        made.update(f"{name} {array.dtype} {array.shape}".encode())
        made.update(np.ascontiguousarray(array).data)
    return made.hexdigest()[:16]


def damaged(folder: Path, reason: str) -> CheckpointError:
    """Make the error that says so."""
    return CheckpointError(
        f"the index {folder} is damaged ({reason}): make it again with `kit index DIR {folder} --fresh`"
    )


def _listed(files: tuple[SoundFile, ...]) -> str:
    return json.dumps([dataclasses.asdict(file) for file in files], indent=0)


def _built(kind: type[T], values: Any) -> T:  # noqa: ANN401 - JSON is of any type
    """Make a dataclass of JSON, with numbers, texts and flags where it has them."""
    for item in dataclasses.fields(kind):
        if item.type in {int, str, bool} and type(values.get(item.name, item.default)) is not item.type:
            raise TypeError(f"{item.name} is missing or of another type")
    return kind(**values)


def _expected(head: Head) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each array. short: see `short.py`, signs: `signs.py`, codes: `postings.py`."""
    count, model = head.spans, head.model
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "spans": ("int64", (count, 3)),  # file, first sample, the one behind the last
        "vectors": (head.settings.vectors, (count, model.dim)),
        "signs": ("uint64", (-(-model.dim // 64), count)),
    }
    if model.short:
        expected["short"] = ("int8", (count, model.short))
    if head.settings.codes:
        expected["code_starts"] = ("int64", (model.width + 1,))
        expected["code_rows"] = ("uint32", (count * model.k,))
        expected["code_weights"] = ("uint8", (count * model.k,))
    return expected
