"""Model files on emulated ARM processors beside x86: whether they agree.

    python -m earkit.benchmarks.arm_parity MODEL.onnx …

Prints a row for each model and processor, and ends with a sentence where one is out of budget. Memory and
time of an emulator mean nothing, so there are none. `make test-arm` does the same with models that it makes.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.aarch64 import PROCESSORS, Aarch64, find_aarch64
from earkit.benchmarks.arm_outputs import outputs
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import EarkitError
from earkit.runtime.machine import machine
from earkit.runtime.trial_sounds import sounds

Outputs = Mapping[str, NDArray[Any]]

SECONDS = (0.3, 0.4, 0.9, 2.5, 10.0)
LARGEST_DIFFERENCE = 1e-4  # of what a float file gives
LEAST_COSINE = 0.999  # of an int8 embedding
LEAST_TOKENS = {"float32": 0.99}  # equal ones: two codewords may be as good but for rounding
LEAST_TOKENS_INT8 = 0.9

HEAD = "| file | processor | embeddings off by | frames off by | cosine | tokens |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Parity:
    """Two machines. Differences are largest ones, the cosine is the least."""

    difference: float
    """Of embeddings."""
    difference_frames: float
    """0 where the model gives none."""
    cosine: float
    """Of embeddings."""
    tokens: float
    """Share that is equal; 1 where the model has none."""


def compare(wanted: Outputs, made: Outputs) -> Parity:
    """Compare what `arm_outputs` gave on two machines, clips alone and in a batch."""
    shapes = [{name: array.shape for name, array in given.items()} for given in (wanted, made)]
    if shapes[0] != shapes[1]:
        name = min(key for key in {*wanted, *made} if shapes[0].get(key) != shapes[1].get(key))
        here, there = (given.get(name, "none") for given in shapes)
        raise EarkitError(f"{name} has another shape on ARM ({there}, here {here}): please report it")
    embeddings, frames, tokens = (
        [(wanted[name], made[name]) for name in wanted if name.startswith(f"{output}.")]
        for output in ("embedding", "frames", "tokens")
    )
    equal = np.concatenate([a == b for a, b in tokens] or [np.array([True])])
    return Parity(
        difference=_largest(embeddings),
        difference_frames=_largest(frames),
        cosine=min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in embeddings),
        tokens=float(equal.mean()),
    )


def _largest(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    return max((float(np.abs(a - b).max()) for a, b in pairs), default=0.0)


def over_budget(made: Parity, precision: str) -> str | None:
    """Say what of it is not allowed."""
    off = max(made.difference, made.difference_frames)
    if precision == "float32" and not off <= LARGEST_DIFFERENCE:
        return f"off by {off:.1e} from x86, {LARGEST_DIFFERENCE:g} is allowed"
    if not made.cosine >= LEAST_COSINE:
        return f"a cosine to x86 is {made.cosine:.6f}, {LEAST_COSINE} is allowed"
    least = LEAST_TOKENS.get(precision, LEAST_TOKENS_INT8)
    if made.tokens < least:
        return f"only {made.tokens:.1%} of the tokens are those of x86, {least:.0%} are wanted"
    return None


def measure(arm: Aarch64, model: Path) -> Iterator[tuple[str, Parity]]:
    """Run clips of 0.3 to 10 s here and on each processor."""
    clips = sounds(SECONDS)
    wanted = outputs(Embedder.load(model, threads=1), clips)
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "clips.npz", Path(name) / "outputs.npz"
        np.savez(given, *clips)
        for processor in PROCESSORS:
            arguments = [str(model.resolve()), str(given), str(made)]
            arm.run("earkit.benchmarks.arm_outputs", arguments, processor)
            with np.load(made) as stored:
                yield processor, compare(wanted, dict(stored))
            made.unlink()


def report(arm: Aarch64, models: list[Path]) -> None:
    """Print the table; an error ends it at the first row that is out of budget."""
    print(HEAD)
    for model in models:
        precision = Embedder.load(model, threads=1).info.precision
        for processor, made in measure(arm, model):
            print(row(model, processor, made), flush=True)
            if fault := over_budget(made, precision):
                raise EarkitError(f"{model.name} on {processor}: {fault}")
    print(f"\nBeside {machine()}.")


def row(model: Path, processor: str, made: Parity) -> str:
    """Write a row of the table."""
    return (
        f"| `{model.name}` | {processor} | {made.difference:.1e} | {made.difference_frames:.1e} "
        f"| {made.cosine:.6f} | {made.tokens:.1%} |"
    )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m earkit.benchmarks.arm_parity", description="Model files on emulated ARM, beside x86."
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    chosen = parser.parse_args()
    try:
        report(find_aarch64(), chosen.models)
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
