"""What the base install takes: disk, import time, time to the first embedding, memory.

    python -m earkit.benchmarks.footprint MODEL [--runs 15]

Installs earkit without extras into an empty environment, and measures there, in fresh processes: medians, the
kinds of processes in turns. `onnxruntime alone` opens and runs the same file with the same settings and
nothing of ours, and so shows what is not ours to save.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import wave
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import load, measured, store
from earkit.runtime.errors import EarkitError
from earkit.runtime.find_model import find_model
from earkit.runtime.threads import usable_threads

ROOT = Path(__file__).parent.parent
SECONDS = 1
"""Of sound in the clip that is embedded."""

_MEMORY = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""

# Each prints one JSON object when it is done. Wall time is taken from outside, or where it says `seconds`.
_PROGRAMS = {
    "python": "print('{}')",
    "import earkit.runtime": """
import json, time
began = time.perf_counter()
import earkit.runtime
print(json.dumps({"seconds": time.perf_counter() - began}))
""",
    "import Embedder": """
import json, time
began = time.perf_counter()
from earkit.runtime import Embedder
print(json.dumps({"seconds": time.perf_counter() - began}))
""",
    "import Embedder after onnxruntime": """
import json, time
import numpy, onnxruntime
began = time.perf_counter()
from earkit.runtime import Embedder
print(json.dumps({"seconds": time.perf_counter() - began}))
""",
    "first embedding": """
import json, sys
from earkit.runtime import Embedder
assert len(Embedder.load(sys.argv[1]).embed(sys.argv[2]))
print(json.dumps({"megabytes": peak()}))
""",
    "onnxruntime alone": """
import json, sys, wave
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
options.inter_op_num_threads = 1
options.enable_mem_pattern = False
options.add_session_config_entry("session.force_spinning_stop", "1")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
with wave.open(sys.argv[2]) as file:
    audio = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(numpy.float32)[None] / 32768
session.run(["embedding"], {"audio": audio, "lengths": numpy.array([audio.shape[1]])})
print(json.dumps({"megabytes": peak()}))
""",
}

_SIZES = """
import importlib.metadata, json, pathlib
sizes = {}
for package in importlib.metadata.distributions():
    files = {pathlib.Path(package.locate_file(file)).resolve() for file in package.files or ()}
    files = {file for file in files if file.suffix != ".pyc" and file.is_file()}
    sizes[package.name] = [package.version, sum(file.stat().st_size for file in files)]
print(json.dumps(sizes))
"""


@dataclass(frozen=True)
class Process:
    """What fresh processes of a kind took: the median, and the least and the greatest."""

    what: str
    milliseconds: float
    least: float
    greatest: float
    megabytes: float | None
    """Peak of resident memory."""


def sizes(python: Path) -> dict[str, tuple[str, int]]:
    """Version and bytes of each package of an environment, without compiled Python and pip.

    With -I, for the sources in the working folder look like an installed package, too.
    """
    done = subprocess.run([python, "-I", "-c", _SIZES], capture_output=True, text=True, check=True)  # noqa: S603 - no shell
    found = json.loads(done.stdout)
    ours = sorted(found.keys() - {"pip", "setuptools"})
    return {name: (found[name][0], found[name][1]) for name in ours}


def processes(python: Path, model: Path, runs: int, threads: int) -> list[Process]:
    """Measure every program so many times, in turns; the first turn does not count."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in [*_PROGRAMS, "kit embed"]}
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.wav"
        write_clip(clip)
        for turn in range(runs + 1):
            for what, taken in seen.items():
                made = run_once(_command(what, python, model, clip, threads), clip.parent)
                if turn:
                    taken.append(made)
    return [_summary(what, taken) for what, taken in seen.items()]


def _command(what: str, python: Path, model: Path, clip: Path, threads: int) -> list[str]:
    if what == "kit embed":
        return [str(python.parent / "kit"), "--quiet", "embed", str(clip), "--model", str(model)]
    return [str(python), "-c", _MEMORY + _PROGRAMS[what], str(model), str(clip), str(threads)]


def run_once(command: list[str], folder: Path) -> dict[str, float]:
    """Run a process to its end. Gives what it says of itself; seconds from outside, where it says none."""
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - no shell
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=True
    )
    made: dict[str, float] = {"seconds": time.perf_counter() - began}
    said = json.loads(done.stdout)
    return made | {name: said[name] for name in ("seconds", "megabytes") if name in said}


def _summary(what: str, taken: list[dict[str, float]]) -> Process:
    seconds = [1000 * each["seconds"] for each in taken]
    memory = [each["megabytes"] for each in taken if "megabytes" in each]
    middle = statistics.median(seconds)
    return Process(what, middle, min(seconds), max(seconds), statistics.median(memory) if memory else None)


def write_clip(file: Path) -> None:
    """Write a sound of 16 bits at 16 kHz: a tone whose loudness changes."""
    samples = [int(8000 * math.sin(0.2 * i) * math.sin(0.0007 * i)) for i in range(SECONDS * 16_000)]
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))


def install(folder: Path) -> Path:
    """Make an empty environment with the base set in it, under our constraints; gives its Python."""
    left_behind = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs", "tests", "__pycache__")
    shutil.copytree(
        ROOT, folder / "copy", ignore=left_behind
    )  # a build leaves its own things beside the sources
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pins = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--compile",
        ".",
    ]
    subprocess.run(command, cwd=folder / "copy", env=_environment() | pins, check=True)  # noqa: S603 - no shell
    return python


def _environment() -> dict[str, str]:
    """Ours, but compiled Python is kept, as everywhere else."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def footprint() -> str:
    """Make the table of the stored results."""
    stored = load("footprint")
    settings, rows = stored["settings"], {row["what"]: row for row in stored["rows"]}
    lines = [["installed", _installed(settings["packages"])]]
    for what, text in _SHOWN.items():
        row = rows[what]
        memory = f", {row['megabytes']:.0f} MB" if row["megabytes"] else ""
        spread = f"{row['least']:.0f} to {row['greatest']:.0f}"
        lines.append([text, f"{row['milliseconds']:.0f} ms ({spread}){memory}"])
    model = f"`{settings['model']}`, {settings['megabytes']:.1f} MB, on {settings['threads']} threads"
    note = (
        f"Medians of {settings['runs']} fresh processes (least to greatest), from start to end but for "
        f"imports; peaks of resident memory. Model: {model}. "
    )
    return markdown_table(("base install", ""), lines, note + measured(stored))


_SHOWN = {
    "python": "Python alone, start to end",
    "import earkit.runtime": "`import earkit.runtime`",
    "import Embedder": "`from earkit.runtime import Embedder`",
    "import Embedder after onnxruntime": "the same without what onnxruntime and NumPy take of it",
    "first embedding": "cold start to the embedding of a clip of 1 s",
    "onnxruntime alone": "onnxruntime alone with the same file and clip, nothing of ours",
    "kit embed": "`kit embed clip.wav`",
}


def _installed(packages: dict[str, Any]) -> str:
    """Sum up, the largest first; what is below 1 MB is not named."""
    sizes = {name: size / 1e6 for name, (_, size) in packages.items()}
    large = sorted((name for name in sizes if sizes[name] >= 1), key=lambda name: -sizes[name])
    named = ", ".join(f"{name} {sizes[name]:.1f}" for name in large)
    rest = sum(sizes.values()) - sum(sizes[name] for name in large)
    return f"{sum(sizes.values()):.0f} MB: {named}, {len(sizes) - len(large)} others {rest:.1f}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m earkit.benchmarks.footprint", description=__doc__)
    parser.add_argument("model", type=Path, help="a model file, or one that comes with earkit")
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    try:
        model = find_model(given.model).resolve()
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    threads = usable_threads()
    with tempfile.TemporaryDirectory() as name:
        python = install(Path(name))
        packages = sizes(python)
        rows = processes(python, model, given.runs, threads)
    print(
        store(
            "footprint",
            "python -m earkit.benchmarks.footprint MODEL",
            [asdict(row) for row in rows],
            model=model.name,
            megabytes=model.stat().st_size / 1e6,
            runs=given.runs,
            threads=threads,
            packages=packages,
        )
    )
    print(footprint())


if __name__ == "__main__":
    main()
