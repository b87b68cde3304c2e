"""From the name of a teacher to its folder: a path or run first, then the cache, then a download.

Nothing is fetched unless a user asks for one of the names in `RELEASED` and has no teacher of that name.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earkit.distill.teachers.download import Progress, download
from earkit.runtime.atomic import write_text
from earkit.runtime.cache import cache_folder
from earkit.runtime.checksum import sha256
from earkit.runtime.errors import CheckpointError, TeacherNotFoundError

if TYPE_CHECKING:
    from earkit.distill.teachers.huggingface import Teacher
    from earkit.distill.teachers.onnx_embedder import OnnxTeacher
    from earkit.distill.teachers.student_teacher import StudentTeacher

RELEASED = {"dinosr_base": "https://data.csail.mit.edu/placesaudio/dinosr/dinosr.ckpt"}
"""Checkpoints that their authors publish, by the name that fetches them."""
URL_OVERRIDE = "EARKIT_DINOSR_URL"
RUNS = Path("runs")
EMBEDDER = "embedder.toml"
"""What describes an ONNX embedder in its folder."""
STUDENT = "student.json"
"""What describes a student of ours in its folder."""
DESCRIBED = Path(__file__).parent / "embedders"
WAYS_ON = (
    "train one with `kit pretrain --config dinosr_base`, import a checkpoint with `kit teachers import`, or "
    "give the path of a teacher folder"
)


@dataclass(frozen=True)
class KnownTeacher:
    """A name that `resolve` takes, and where it leads."""

    name: str
    where: str
    """run, cache or download."""
    path: str


def resolve(name_or_path: str | Path, progress: Progress | None = None) -> Path:
    """Find the Hugging Face folder of a teacher; a released checkpoint is downloaded and imported."""
    found = find(name_or_path)
    if found:
        return found
    name = str(name_or_path)
    if name in RELEASED:
        return _fetch(name, progress)
    if (DESCRIBED / f"{name}.toml").is_file():
        raise TeacherNotFoundError(
            f"teacher {name} is not on this machine: "
            f"fetch it with `python -m earkit.benchmarks.peers get {name}`"
        )
    raise not_found(name)


def not_found(name: str) -> TeacherNotFoundError:
    """Say that a name leads nowhere, and the ways on."""
    return TeacherNotFoundError(f"there is no teacher {name} on this machine: {WAYS_ON}")


def load_teacher_by_name(
    name_or_path: str | Path, progress: Progress | None = None
) -> "tuple[Teacher | OnnxTeacher | StudentTeacher, Path]":
    """Resolve and load a teacher of any kind; gives its folder too."""
    found = resolve(name_or_path, progress)
    return load_found(found, str(name_or_path)), found if found.is_dir() else found.parent


def load_found(found: Path, name: str | None = None) -> "Teacher | OnnxTeacher | StudentTeacher":
    """Load what `find` or `resolve` gave: a folder of a teacher or student, or an ONNX embedder's TOML."""
    description = found if found.suffix == ".toml" else found / EMBEDDER
    if description.is_file():
        from earkit.distill.teachers.onnx_embedder import load_onnx  # noqa: PLC0415 - torch, when needed

        return load_onnx(description, name)
    if (found / STUDENT).is_file():
        from earkit.distill.teachers.student_teacher import load_as_teacher  # noqa: PLC0415 - the same

        return load_as_teacher(found, name)
    from earkit.distill.teachers.huggingface import load  # noqa: PLC0415 - the same

    return load(found, name)


def find(name_or_path: str | Path) -> Path | None:
    """Look for a teacher on this machine only."""
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_file() and path.suffix == ".toml":
        return path
    if path.is_file():
        raise CheckpointError(f"{path} is a file: make a teacher folder of it with `kit teachers import`")
    places = [path, RUNS / path] if not path.is_absolute() else [path]
    for place in places:
        if place.is_dir():
            return _model_folder(place)
    cached = teachers_cache() / name
    plain_name = path.name == name
    return cached if plain_name and _describes_a_model(cached) else None


def known() -> Iterator[KnownTeacher]:
    """Name every teacher that can be asked for here: finished runs, the cache, released checkpoints."""
    names: set[str] = set()
    cache = teachers_cache()
    places = (
        ("run", RUNS, "*/teacher/config.json"),
        ("cache", cache, "*/config.json"),
        ("cache", cache, f"*/{EMBEDDER}"),
    )
    for where, folder, pattern in places:
        for config in sorted(folder.glob(pattern)):
            name = config.relative_to(folder).parts[0]
            if name not in names and not name.startswith("."):
                names.add(name)
                yield KnownTeacher(name, where, str(config.parent))
    for name in sorted(RELEASED.keys() - names):
        yield KnownTeacher(name, "download", _address(name))


def teachers_cache() -> Path:
    """Where imported downloads lie."""
    return cache_folder() / "teachers"


def _model_folder(place: Path) -> Path:
    for folder in (place, place / "teacher", place / "student"):
        if _describes_a_model(folder):
            return folder
    if (place / "checkpoints").is_dir():
        raise CheckpointError(
            f"{place} is a run without a teacher yet: finish it with `kit pretrain --out {place}`"
        )
    raise CheckpointError(f"{place} is no teacher: it holds neither config.json nor teacher/config.json")


def _describes_a_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", EMBEDDER, STUDENT))


def _address(name: str) -> str:
    return os.environ.get(URL_OVERRIDE) or RELEASED[name]


def _fetch(name: str, progress: Progress | None) -> Path:
    folder = teachers_cache()
    file = folder / f"{name}.ckpt"
    try:
        if not file.is_file():  # there after an import that failed for want of space
            download(_address(name), file, progress)
    except TeacherNotFoundError as error:
        raise TeacherNotFoundError(
            f"teacher {name} is not on this machine and {error}; else {WAYS_ON}"
        ) from error
    _import(file, folder / name)
    return folder / name


def _import(file: Path, out: Path) -> None:
    """Import a downloaded checkpoint and pin its checksum; a file that is not good is removed."""
    from earkit.distill.teachers.official import import_official  # noqa: PLC0415 - torch, see above

    digest, pin = sha256(file), file.with_name(f"{file.name}.sha256")
    try:
        _check_pin(digest, pin)
        import_official(file, out)
    except CheckpointError:
        file.unlink()
        raise
    write_text(pin, f"{digest}  {file.name}\n")
    file.unlink()


def _check_pin(digest: str, pin: Path) -> None:
    pinned = pin.read_text(encoding="utf-8").split()[:1] if pin.is_file() else [digest]
    if pinned != [digest]:
        raise CheckpointError(
            f"the downloaded checkpoint has changed since its first use and is refused (sha256 {digest}, "
            f"not the {' '.join(pinned) or 'one'} in {pin}); delete that file if you trust the new one"
        )
