"""Build the wheel, install it alone into an empty environment, and try what must work without torch.

Needs nothing but Python and pip. Exits with a sentence when something is not as it should be.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HELP_SECONDS = 0.5
MISSING_EXTRA = 6  # docs/exit-codes.md
EXTRAS = [
    "torch",
    "transformers",
    "accelerate",
    "safetensors",
    "onnx",
    "optimum",
    "sklearn",
    "matplotlib",
    "usearch",
]


def main() -> None:
    """Build, install, try; everything is made below a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = folder / "venv"
        venv.create(environment, with_pip=True)
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        install(programs / "python", build(programs / "python", folder))
        check_absent(programs / "python", folder)
        check_help(programs / "kit")
        check_doctor(programs / "kit")
        check_missing_extra(programs / "kit")


def build(python: Path, folder: Path) -> Path:
    """Build from a copy, where no earlier build can leak into the wheel."""
    left_behind = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "runs", "tests", "__pycache__")
    shutil.copytree(ROOT, folder / "copy", ignore=left_behind)
    pip(python, "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "copy"))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(python: Path, wheel: Path) -> None:
    """Install the wheel with what it requires and no extra."""
    pip(python, "install", str(wheel))


def pip(python: Path, *arguments: str) -> None:
    """Run pip under our constraints, also inside the isolated build (the second variable, pip 25.3)."""
    pins = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    subprocess.run([python, "-m", "pip", "--quiet", *arguments], cwd=ROOT, env=os.environ | pins, check=True)


def check_absent(python: Path, elsewhere: Path) -> None:
    """Nothing of an extra may have come along; `elsewhere` keeps the sources off the import path."""
    script = f"from importlib.util import find_spec; print([m for m in {EXTRAS} if find_spec(m)])"
    answer = subprocess.run([python, "-c", script], cwd=elsewhere, capture_output=True, text=True, check=True)
    if answer.stdout != "[]\n":
        sys.exit(f"the base install brings packages that belong to extras: {answer.stdout}")
    print("base install: no torch, nothing of any extra")


def check_help(kit: Path) -> None:
    """Best of five after one warm-up, which compiles the bytecode."""
    seconds = min(time_of([kit, "--help"]) for _ in range(6))
    if seconds >= HELP_SECONDS:
        sys.exit(
            f"kit --help takes {seconds:.2f} s, {HELP_SECONDS} s are allowed; python -X importtime tells why"
        )
    print(f"base install: kit --help answers in {seconds:.2f} s")


def time_of(command: list[str | Path]) -> float:
    """Wall time of a command that must succeed, in seconds."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def check_doctor(kit: Path) -> None:
    """Check that the base packages work and that extras are reported missing with their install lines."""
    answer = subprocess.run([kit, "doctor", "--json"], capture_output=True, text=True, check=True)
    facts = json.loads(answer.stdout)
    if facts["versions"]["torch"] is not None or not all(
        extra["install"] for extra in facts["extras"].values()
    ):
        sys.exit(f"kit doctor reports extras that are not there: {answer.stdout}")
    print(f"base install: kit doctor works, onnxruntime {facts['versions']['onnxruntime']}")


def check_missing_extra(kit: Path) -> None:
    """Check that a verb that needs torch ends with the install line and the exit code for it."""
    answer = subprocess.run([kit, "pretrain", "--dry-run"], capture_output=True, text=True, check=False)
    if answer.returncode != MISSING_EXTRA or "pip install 'earkit[train]'" not in answer.stderr:
        sys.exit(f"kit pretrain without torch ended with {answer.returncode} and said: {answer.stderr}")
    print("base install: kit pretrain names the extra that it needs")


if __name__ == "__main__":
    main()
