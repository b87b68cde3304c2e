"""Damaged model files through the runtime: each is a result or one sentence.

    python -m earkit.benchmarks.fuzz_models MODEL... [--files 500] [--seed 0] [--keep FOLDER]

Files are made of the models in turn. Half of them are sealed anew after the damage, as by someone who means
harm. Ends with 1 where anything failed. Of a failure, `--keep` leaves the file. Some of the `huge arrays` do
fail: a graph that asks for gigabytes gets them, for onnxruntime knows no limit.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from earkit.benchmarks.damaged_models import MUTATIONS, damaged
from earkit.benchmarks.fuzz import FAILURES, SECONDS, WORKER, Tally, Worker, progress
from earkit.runtime.seal import sealed


def fuzz(
    models: Sequence[Path], files: int, seed: int = 0, keep: Path | None = None, seconds: float = SECONDS
) -> Tally:
    """Try so many damaged files."""
    tally = Tally()
    wholes = [model.read_bytes() for model in models]
    with tempfile.TemporaryDirectory() as name, Worker([*WORKER, "models"], seconds) as worker:
        for index in progress(range(files), files):
            which, number = index % len(models), index // len(models)
            mutation, data = damaged(wholes[which], number, seed)
            if models[which].suffix == ".onnx" and number // len(MUTATIONS) % 2 == 0:
                data = sealed(data)
            file = Path(name) / f"{index:05}{models[which].suffix}"
            file.write_bytes(data)
            verdict = worker.judge(file)
            tally.add(index, mutation, verdict)
            if keep and verdict.kind in FAILURES:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / file.name).write_bytes(data)
            file.unlink()
    return tally


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m earkit.benchmarks.fuzz_models", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    given = parser.parse_args()
    tally = fuzz(given.models, given.files, given.seed, given.keep)
    print(tally.text())
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
