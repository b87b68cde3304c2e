"""A process of its own that hears clips of noise when it is told to, and says how long each took.

    python -m earkit.benchmarks.hearing KIND PLACE THREADS

For every line with the seconds of a clip and those of a turn it hears the clip until the turn is over, at
least once, and answers with a line of JSON: the seconds that hearing took, their median, and the most memory
the process ever had. KIND says what PLACE is, and what is imported for it: no more than its
user needs. `graphs` are an ONNX peer's files alone, fed with what `write_feeds` recorded.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from earkit.benchmarks.node_profile import GraphRun

Kind = Literal["floor", "file", "graphs", "representation"]
Hear = Callable[[int], object]
"""seconds -> a vector of a clip of noise that is so long."""

SAMPLE_RATE = 16_000
SEED = 0  # of the noise
_PLAN = "{seconds}.json"


@cache
def noise(seconds: float) -> Any:  # noqa: ANN401 - NumPy waits until the process is told what to do
    """Give the clip that everyone hears. -> (samples,)."""
    import numpy as np  # noqa: PLC0415 - its time counts

    samples = np.random.default_rng(SEED).standard_normal(int(seconds * SAMPLE_RATE)) / 10
    return samples.astype(np.float32)


def hearer(kind: Kind, place: str, threads: int) -> Hear:
    """Open what is to hear."""
    match kind:
        case "floor":
            return _floor(place)
        case "file":
            from earkit.runtime.embedder import Embedder  # noqa: PLC0415 - its time counts

            embedder = Embedder.load(place, threads=threads)
            return lambda seconds: embedder.embed(noise(seconds), SAMPLE_RATE)
        case "graphs":
            return _graphs(Path(place), threads)
        case "representation":
            return _representation(place)


def _floor(name: str) -> Hear:
    from importlib import import_module  # noqa: PLC0415 - its time counts

    module = name.replace("-", "_")  # each floor has a module and a function of its name
    make = getattr(import_module(f"earkit.benchmarks.{module}"), module)
    return lambda seconds: make(noise(seconds)).mean(axis=0)


def _graphs(folder: Path, threads: int) -> Hear:
    import numpy as np  # noqa: PLC0415 - its time counts
    import onnxruntime  # noqa: PLC0415 - its time counts

    # Not the runtime's, which allow a model of ours a gigabyte: Whisper small takes more.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    sessions: dict[str, Any] = {}

    @cache
    def runs(seconds: int) -> list[tuple[str, list[str], dict[str, Any]]]:
        plan = json.loads((folder / _PLAN.format(seconds=seconds)).read_text(encoding="utf-8"))
        return [
            (
                run["file"],
                run["outputs"],
                {name: np.load(folder / file) for name, file in run["feeds"].items()},
            )
            for run in plan
        ]

    def hear(seconds: int) -> None:
        for file, outputs, feeds in runs(seconds):
            if file not in sessions:
                sessions[file] = onnxruntime.InferenceSession(file, options)
            sessions[file].run(outputs, feeds)

    return hear


def _representation(name: str) -> Hear:
    from earkit.benchmarks.representations import load  # noqa: PLC0415 - its time counts

    loaded = load(name)
    if loaded.vector is not None:
        vector = loaded.vector
        return lambda seconds: vector(noise(seconds))
    assert loaded.frames is not None
    frames = loaded.frames
    return lambda seconds: list(frames(noise(seconds)).values())[-1].mean(axis=0)


def write_feeds(folder: Path, seconds: int, runs: "Sequence[GraphRun]") -> None:
    """Record what graphs are fed for a clip of so many seconds."""
    import numpy as np  # noqa: PLC0415 - as all of this file

    plan: list[Mapping[str, Any]] = []
    for number, run in enumerate(runs):
        feeds: dict[str, str] = {}
        for name, value in run.feeds.items():
            feeds[name] = f"{seconds}-{number}-{len(feeds)}.npy"
            np.save(folder / feeds[name], value)
        plan.append({"file": str(run.file), "outputs": run.outputs, "feeds": feeds})
    (folder / _PLAN.format(seconds=seconds)).write_text(json.dumps(plan), encoding="utf-8")


def peak_megabytes() -> float:
    """Most resident memory of this process so far.

    By getrusage a process begins with the peak of the one that started it, so Linux is asked otherwise.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource  # noqa: PLC0415 - not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Hear until the input ends."""
    kind, place, threads = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):  # of the threads that anyone starts from here on
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    hear = hearer(kind, place, int(threads))  # type: ignore[arg-type]  # one of ours started it
    for line in sys.stdin:
        seconds, turn = line.split()
        noise(int(seconds))  # is kept: making it does not count
        taken: list[float] = []
        while not taken or sum(taken) < float(turn):
            begun = perf_counter()
            hear(int(seconds))
            taken.append(perf_counter() - begun)
        print(json.dumps({"seconds": _median(taken), "peak_mb": peak_megabytes()}), flush=True)


def _median(numbers: list[float]) -> float:
    """Give a middle one of them; `statistics` would take part in what a cold start costs."""
    return sorted(numbers)[len(numbers) // 2]


if __name__ == "__main__":
    main()
