"""`kit embed` and `kit index`, killed at random points and begun again: the same bytes as without a kill.

    python -m earkit.benchmarks.kill_runs MODEL [--kills 20] [--clips 300] [--seed 0]

The commands are the real ones; only what they keep on the way, they keep every 8 files and every 0.2 s, so
that there is something to take over in runs of seconds. Ends with 1 where a byte differs or something is left
behind.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

_KIT = """
from earkit.runtime import corpus_run
from earkit.runtime.search import build
corpus_run.PART_FILES, build.CHECKPOINT_SECONDS, build.CHECKPOINT_SHARE = 8, 0.2, 1.0
from earkit.cli.main import main
main()
"""

Content = dict[str, bytes]


@dataclass
class Report:
    """What became of a command that was killed again and again."""

    verb: str
    kills: int = 0
    begun: int = 0
    """Kills after which something was there to go on from."""
    compared: int = 0
    """Results that were whole."""
    differing: int = 0
    seconds: float = 0.0
    """Of the uninterrupted run."""


def kill_runs(verb: str, arguments: list[str], folder: Path, kills: int, seed: int = 0) -> Report:
    """Kill `kit VERB ARGUMENTS OUT` so many times, and compare what comes out with an uninterrupted run.

    Out is the last argument, a name in `folder`; once a run has come through before its kill, another begins.
    """
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    report = Report(verb)
    started = time.monotonic()
    if _run(verb, [*arguments, str(folder / "whole" / "out.npz")]) != 0:
        raise RuntimeError(f"kit {verb} does not run without being killed")
    report.seconds = time.monotonic() - started
    wanted = _content(folder / "whole")
    while report.kills < kills:
        ended = _run(
            verb, [*arguments, str(folder / "killed" / "out.npz")], chance.uniform(0, report.seconds)
        )
        if ended == -signal.SIGKILL:
            report.kills += 1
            report.begun += bool(_content(folder / "killed"))
            continue
        _compare(report, ended, folder, wanted)
    _compare(report, _run(verb, [*arguments, str(folder / "killed" / "out.npz")]), folder, wanted)
    return report


def _compare(report: Report, ended: int, folder: Path, wanted: Content) -> None:
    report.compared += 1
    report.differing += ended != 0 or _content(folder / "killed") != wanted
    shutil.rmtree(folder / "killed", ignore_errors=True)


def _run(verb: str, arguments: list[str], seconds: float | None = None) -> int:
    """Run a command, at most so long; gives how it ended."""
    command = [sys.executable, "-c", _KIT, "--quiet", verb, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _content(folder: Path) -> Content:
    """All files below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def write_clips(folder: Path, count: int, seed: int = 0) -> None:
    """Write noise of 0.1 to 2 s."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(count):
        sound = 0.1 * rng.standard_normal(int(16_000 * rng.uniform(0.1, 2)))
        soundfile.write(folder / f"{i:05}.wav", sound, 16_000)


def both(model: Path, clips: int, kills: int, seed: int = 0) -> list[Report]:
    """Do it to `kit embed` and to `kit index`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / "clips", clips)
        return [
            kill_runs(
                "embed", [str(folder / "clips"), "--model", str(model), "-o"], folder / "e", kills, seed
            ),
            kill_runs("index", ["--model", str(model), str(folder / "clips")], folder / "i", kills, seed + 1),
        ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m earkit.benchmarks.kill_runs", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    reports = both(given.model, given.clips, given.kills, given.seed)
    for report in reports:
        print(
            f"kit {report.verb}: {report.seconds:.1f} s uninterrupted, {report.kills} kills, "
            f"{report.begun} of them with work to take over; {report.compared} results, "
            f"{report.differing} that differ"
        )
    sys.exit(any(report.differing for report in reports))


if __name__ == "__main__":
    main()
