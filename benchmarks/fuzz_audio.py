"""Damaged sound files through the embedder: each is a result or one sentence.

    python -m earkit.benchmarks.fuzz_audio MODEL [--files 2000] [--seed 0] [--keep FOLDER]

In the end `kit embed` goes over all of them, and must use and leave out the same as the embedder by path.
Ends with 1 where anything failed. Of a failure, `--keep` leaves the file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from earkit.benchmarks.damaged_audio import damaged
from earkit.benchmarks.fuzz import WORKER, Tally, Verdict, Worker, progress

WAYS = ("path", "bytes", "file")


def fuzz(model: Path, files: int, folder: Path, seed: int = 0) -> Tally:
    """Try so many damaged files, which stay in `folder`."""
    tally, verdicts = Tally(), {}
    with Worker([*WORKER, "audio", str(model)]) as worker:
        for index in progress(range(files), files):
            made = damaged(index, seed)
            file = folder / f"{index:05}{made.suffix}"
            file.write_bytes(made.data)
            way = WAYS[index % len(WAYS)]
            verdict = worker.judge(file, way=way)
            tally.add(index, made.mutation, verdict)
            if (
                way == "path"
            ):  # by its name, libsndfile takes even that for an mp3 which does not begin as one
                verdicts[file.name] = verdict
    tally.add(files, "kit embed", _all_at_once(model, folder, verdicts))
    return tally


def _all_at_once(model: Path, folder: Path, verdicts: dict[str, Verdict]) -> Verdict:
    """Compare `kit embed` of all files with what came of each by itself."""
    out = folder / "vectors.jsonl"
    command = ["embed", str(folder), "--model", str(model), "--on-error", "skip", "-o", str(out), "--json"]
    done = subprocess.run(  # noqa: S603 - no shell
        [sys.executable, "-m", "earkit.cli", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return Verdict("wrong", f"kit embed ended with {done.returncode}: {done.stderr[-300:]}")
    skipped = set(json.loads(done.stdout)["skipped"])
    expected = {name for name, verdict in verdicts.items() if verdict.kind != "result"}
    if differ := sorted((skipped ^ expected) & verdicts.keys()):
        return Verdict("wrong", f"kit embed and the embedder differ over {differ[:5]}")
    return Verdict("result")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m earkit.benchmarks.fuzz_audio", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tally = fuzz(given.model, given.files, Path(name), given.seed)
        print(tally.text())
        if given.keep:
            keep(tally, given.keep, given.seed)
    sys.exit(1 if tally.failures else 0)


def keep(tally: Tally, folder: Path, seed: int) -> None:
    """Write the files that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    for failure in tally.failures:
        made = damaged(failure["index"], seed)
        (folder / f"{failure['index']:05}{made.suffix}").write_bytes(made.data)


if __name__ == "__main__":
    main()
