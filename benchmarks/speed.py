"""How fast a model is, against its teacher and in every form it has, and where its time goes.

Times are those of `earkit.benchmarks.cost`. What onnxruntime says of its nodes is of clips of 10 s on one
thread; the machine's peak is that of a large product of float32 matrices: quantized files may pass it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from earkit.benchmarks.contestants import Contestant, clip_run, contestant
from earkit.benchmarks.cost import COUNTED, QUICK, Cost, Plan, costs, timed
from earkit.benchmarks.hearing import SEED, noise
from earkit.benchmarks.machine import machine
from earkit.benchmarks.matrix_peak import matrix_peak
from earkit.benchmarks.node_profile import node_runs, shares
from earkit.distill.distilled import DESCRIPTION
from earkit.distill.teachers.resolve import find
from earkit.runtime.errors import EarkitError
from earkit.runtime.find_model import KINDS, find_model, newest_export
from earkit.runtime.model_file import ModelInfo, open_session, read_model_file
from earkit.runtime.session import session_options
from earkit.runtime.threads import usable_threads

Say = Callable[[str], None]

BATCHES = (1, 2, 4, 8, 16)
BATCH_SECONDS = 2
LENGTHS = (1, 3, 10, 30, 60)
PROFILED = 5
TEACHERS = "teachers.json"


@dataclass(frozen=True)
class Speed:
    """costs: of everyone, the first being what the others are compared with.

    peak: multiply-adds a second, by threads. of_peak: share of it that each reaches with clips of 10 s, by
    name and threads. nodes: each operator's share of the time, by name. batches: milliseconds a clip of 2 s
    on one thread, by name and size of the batch.
    """

    costs: list[Cost]
    peak: dict[str, float]
    of_peak: dict[str, dict[str, float]]
    nodes: dict[str, dict[str, float]]
    batches: dict[str, dict[str, float]]


def speed(names: Sequence[str], *, quick: bool = False, say: Say = lambda _: None) -> Speed:
    """Measure what is named; without a name, all that belongs to the newest export."""
    those = [contestant(name) for name in (names or newest(say))]
    every = sorted({1, 2, *(2**k for k in range(2, 7) if 2**k <= usable_threads())})
    plan = QUICK if quick else Plan(lengths=LENGTHS, threads=tuple(every))
    threads = [n for n in plan.threads if n <= usable_threads()]
    say("measuring the machine's peak")
    peak = {str(n): matrix_peak(n) for n in threads}
    measured = costs(those, plan, say)
    say("asking onnxruntime where the time goes")
    files = {each.name: Path(each.opened[1]) for each in those if each.opened[0] == "file"}
    return Speed(
        measured,
        peak,
        {cost.name: _of_peak(cost, peak, threads) for cost in measured if cost.multiply_adds},
        {each.name: nodes_of(each) for each in those if each.graph_runs},
        batched(files, 3 if quick else 7),
    )


def newest(say: Say) -> list[str]:
    """Name what belongs to the newest export: teachers and student in torch, then the files, float first."""
    file = newest_export() or find_model()
    folder, info = file.parent, read_model_file(file)
    found = [*_teachers(folder, say)]
    if (folder / "student" / DESCRIPTION).is_file():
        found.append(str(folder))
    siblings = [each for each in sorted(folder.iterdir()) if each.suffix in KINDS and _is_of(each, info)]
    return [*found, *map(str, sorted(siblings, key=lambda each: -each.stat().st_size))]


def _is_of(file: Path, info: ModelInfo) -> bool:
    """Whether a file was made of the same weights, for clips."""
    try:
        other = read_model_file(file)
    except EarkitError:
        return False
    return other.stream is None and other.parent_sha256 == info.parent_sha256


def _teachers(run: Path, say: Say) -> list[str]:
    if not (run / TEACHERS).is_file():
        return []
    names = [entry["name"] for entry in json.loads((run / TEACHERS).read_text(encoding="utf-8"))]
    there = [name for name in names if find(name)]
    for name in names:
        if name not in there:
            say(f"leaving out the teacher {name}, which is not on this machine")
    return there


def _of_peak(cost: Cost, peak: Mapping[str, float], threads: Sequence[int]) -> dict[str, float]:
    count = cost.multiply_adds[str(COUNTED)]
    return {str(n): count / cost.seconds[timed(COUNTED, n)] / peak[str(n)] for n in threads}


def nodes_of(each: Contestant) -> dict[str, float]:
    """Give each operator's share of the time in nodes, over all graphs of a contestant."""
    assert each.graph_runs is not None
    runs = [node_runs(run, rounds=PROFILED) for run in each.graph_runs(noise(COUNTED))]
    return shares([list(chain(*parts)) for parts in zip(*runs, strict=True)])


def batched(files: Mapping[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds a clip, of batches, all files and sizes in turns; a first round does not count."""
    sessions = {name: open_session(file, session_options(1)) for name, file in files.items()}
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(1 + rounds):
        for size in BATCHES:
            audio = np.tile(noise(BATCH_SECONDS), (size, 1))
            for name, session in sessions.items():
                run = clip_run(files[name], audio)
                begun = perf_counter()
                session.run(list(run.outputs), dict(run.feeds))
                taken.setdefault((name, size), []).append(perf_counter() - begun)
    return {
        name: {str(size): 1000 * median(taken[name, size][1:]) / size for size in BATCHES} for name in files
    }


def to_json(measured: Speed) -> str:
    """Write all as JSON, with versions, machine and git state."""
    whole: dict[str, Any] = {"machine": machine(), "seed": SEED, **asdict(measured)}
    return json.dumps(whole, indent=1) + "\n"
