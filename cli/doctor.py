"""`kit doctor`: what this machine has for earkit, and what to do about what it lacks."""

import dataclasses
import json
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import typer

from earkit.cli.options import AsJson
from earkit.runtime.cache import cache_folder
from earkit.runtime.extras import EXTRAS, install_line, missing_modules
from earkit.runtime.instruction_sets import instruction_sets
from earkit.runtime.text_table import described
from earkit.runtime.threads import available_cpus, usable_threads

BASE = ("numpy", "onnxruntime", "soundfile", "soxr")  # each is imported by the name it is installed by


@dataclass(frozen=True)
class Cpu:
    """The processor, and the part of it that this process is granted."""

    machine: str
    cores: int
    available: float
    threads: int
    instruction_sets: dict[str, bool] | None  # None: nothing on this platform tells


@dataclass(frozen=True)
class Extra:
    """An optional part of earkit; `install` is the command to run where modules are missing."""

    missing: list[str]
    install: str | None


@dataclass(frozen=True)
class Cache:
    """Where fetched and made files are kept, and the space left there."""

    folder: str
    writable: bool
    free_bytes: int


@dataclass(frozen=True)
class Model:
    """A model file: one that comes with earkit, or an export of a run in `runs/`."""

    file: str
    name: str
    precision: str
    megabytes: float


@dataclass(frozen=True)
class Diagnosis:
    """Everything `kit doctor` answers; `problems` are sentences, none of them when all is well."""

    versions: dict[str, str | None]
    providers: list[str]
    decoders: list[str]
    cpu: Cpu
    extras: dict[str, Extra]
    cache: Cache
    models: list[Model]
    problems: list[str]


def doctor(as_json: AsJson = False) -> None:
    """Show versions, processor, installed extras, cache and models; exit code 1 when something is broken."""
    found = diagnose()
    print(json.dumps(dataclasses.asdict(found), indent=2) if as_json else _text(found))
    if found.problems:
        raise typer.Exit(1)


def diagnose() -> Diagnosis:
    """Look at this machine; torch is looked for but not imported, which would take seconds."""
    loaded, problems = _load(BASE)
    cache = _cache(cache_folder())
    if not cache.writable:
        problems.append(f"the cache folder {cache.folder} is not writable; set EARKIT_CACHE to one that is")
    models, damaged = _models(Path("runs")) if len(loaded) == len(BASE) else ([], [])
    problems += damaged
    onnxruntime, soundfile = loaded.get("onnxruntime"), loaded.get("soundfile")
    return Diagnosis(
        versions={
            "python": platform.python_version(),
            **{name: _version(name) for name in ("earkit", *BASE, "torch")},
            "libsndfile": soundfile.__libsndfile_version__ if soundfile else None,
        },
        providers=onnxruntime.get_available_providers() if onnxruntime else [],
        decoders=_decoders(soundfile) if soundfile else [],
        cpu=Cpu(
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
            available=available_cpus(),
            threads=usable_threads(),
            instruction_sets=instruction_sets(),
        ),
        extras={extra: _extra(extra) for extra in EXTRAS},
        cache=cache,
        models=models,
        problems=problems,
    )


def _load(names: tuple[str, ...]) -> tuple[dict[str, ModuleType], list[str]]:
    """Import the base packages; a broken one becomes a sentence instead of the end of the diagnosis."""
    loaded, problems = {}, []
    for name in names:
        try:
            loaded[name] = import_module(name)
        except (ImportError, OSError) as error:  # OSError: a shared library of the system is missing
            problems.append(f"{name} does not load ({error}); run: pip install --force-reinstall {name}")
    return loaded, problems


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _decoders(soundfile: ModuleType) -> list[str]:
    """Those of the formats that earkit reads which this libsndfile was built with."""
    formats = {name.lower() for name in soundfile.available_formats()}
    if "OPUS" in soundfile.available_subtypes("OGG"):
        formats.add("opus")
    return [name for name in ("wav", "flac", "ogg", "opus", "mp3") if name in formats]


def _extra(extra: str) -> Extra:
    missing = missing_modules(extra)
    return Extra(missing=missing, install=install_line(extra) if missing else None)


def _cache(folder: Path) -> Cache:
    """Asked of the nearest folder that exists: looking must not create anything."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Cache(
        folder=str(folder),
        writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(existing).free,
    )


def _models(runs: Path) -> tuple[list[Model], list[str]]:
    """Open every model file that a name or a run could mean; one that cannot be opened is a sentence."""
    from earkit.runtime.errors import CheckpointError
    from earkit.runtime.find_model import built_in, model_files
    from earkit.runtime.model_file import read_model_file

    models, damaged = [], []
    for file in [*built_in().values(), *sorted(model_files(runs.glob("*/*")))]:
        try:
            info = read_model_file(file)
        except CheckpointError as error:
            damaged.append(str(error))
        else:
            models.append(Model(str(file), info.name, info.precision, round(file.stat().st_size / 1e6, 2)))
    return models, damaged


def _text(found: Diagnosis) -> str:
    cpu, cache = found.cpu, found.cache
    sets = cpu.instruction_sets
    rows = [
        *((name, number or "not installed") for name, number in found.versions.items()),
        ("providers", ", ".join(found.providers)),
        ("decoders", ", ".join(found.decoders)),
        (
            "processor",
            f"{cpu.machine}, {cpu.cores} cores, {cpu.available:g} granted, {cpu.threads} threads used",
        ),
        ("instructions", "not known on this platform" if sets is None else _present(sets)),
        *((f"earkit[{name}]", _extra_text(extra)) for name, extra in found.extras.items()),
        ("cache", f"{cache.folder}, {cache.free_bytes / 2**30:.1f} GiB free"),
        *(("model", f"{each.file}, {each.precision}, {each.megabytes:.2f} MB") for each in found.models),
        *(("problem", sentence) for sentence in found.problems),
    ]
    return described(rows)


def _present(sets: dict[str, bool]) -> str:
    return ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in sets.items())


def _extra_text(extra: Extra) -> str:
    return f"missing {', '.join(extra.missing)}; run: {extra.install}" if extra.install else "installed"
