"""What an embedding costs: size, multiply-adds, time by length and threads, a cold start, memory.

Everyone hears the same noise, in a process of its own with as many CPUs as it has threads, all in turns, so
that they share the machine's moods. In each turn it hears clips for half a second that do not count, which
wakes the process and its caches, and for as long clips that do, at least one; a turn's time is their median.
A model of a fixed window is charged that window, for that is what its user waits for.
Cold starts and memory are of fresh processes that import no more than is needed (for an ONNX peer: NumPy and
onnxruntime; its features are computed before), with the files in the disk's cache.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Self

from earkit.benchmarks.contestants import Contestant
from earkit.benchmarks.hearing import Kind, noise, write_feeds
from earkit.runtime.errors import CheckpointError
from earkit.runtime.threads import usable_threads

Say = Callable[[str], None]

TURN = 0.5
"""Seconds for which each hears clips that do not count, and then clips that do."""
COUNTED = 10  # seconds of the clip whose multiply-adds and memory are told


@dataclass(frozen=True)
class Plan:
    """lengths: of clips, in whole seconds. rounds: turns of everyone; starts: cold ones."""

    lengths: tuple[int, ...] = (1, 10, 60)
    threads: tuple[int, ...] = (1, 2)
    rounds: int = 5
    starts: int = 3


QUICK = Plan(lengths=(1, 10), rounds=3, starts=1)


@dataclass(frozen=True)
class Cost:
    """Medians. multiply_adds: of clips of 1 s and 10 s, by the length in seconds; empty if not counted.

    seconds: to embed a clip, by `timed(length, threads)`; times: how many times as fast as the first of all,
    by the same, medians of what was measured in one round. cold_start: seconds from starting the process to
    the vector of a clip of 1 s. peak_mb: of a fresh process that embedded clips of 1 s and 10 s.
    """

    name: str
    about: str
    parameters: int
    megabytes: float
    multiply_adds: Mapping[str, int]
    seconds: Mapping[str, float]
    times: Mapping[str, float]
    cold_start: float
    peak_mb: float


def timed(length: int, threads: int) -> str:
    """Name a measurement."""
    return f"{length} s, {threads} thread{'s' * (threads > 1)}"


def costs(contestants: Sequence[Contestant], plan: Plan, say: Say = lambda _: None) -> list[Cost]:
    """Measure all of them; the first is what the others' speed is compared with."""
    say("starting each in fresh processes")
    fresh = from_fresh(contestants, plan.starts)
    say("counting multiply-adds")
    adds = {
        each.name: {str(n): each.multiply_adds(noise(n)) for n in (1, COUNTED)} if each.multiply_adds else {}
        for each in contestants
    }
    seconds: dict[str, dict[str, list[float]]] = {each.name: {} for each in contestants}
    for threads in (n for n in plan.threads if n <= usable_threads()):
        say(f"timing {len(contestants)} of them, threads: {threads}")
        for name, taken in in_turns(contestants, threads, plan).items():
            seconds[name] |= taken
    first = seconds[contestants[0].name]
    return [
        Cost(
            each.name,
            each.about,
            each.parameters,
            round(each.megabytes, 3),
            adds[each.name],
            {kind: median(taken) for kind, taken in seconds[each.name].items()},
            {
                kind: round(median(a / b for a, b in zip(first[kind], taken, strict=True)), 3)
                for kind, taken in seconds[each.name].items()
            },
            median(start for start, _ in fresh[each.name]),
            round(median(peak for _, peak in fresh[each.name]), 1),
        )
        for each in contestants
    ]


def in_turns(
    contestants: Sequence[Contestant], threads: int, plan: Plan
) -> dict[str, dict[str, list[float]]]:
    """Seconds of everyone in every round, by name and measurement; a first round does not count."""
    taken: dict[str, dict[str, list[float]]] = {each.name: {} for each in contestants}
    with ExitStack() as stack:
        processes = {
            each.name: stack.enter_context(Hearing(each.name, *each.opened, threads)) for each in contestants
        }
        for process in processes.values():
            process.hear(1)
        for _ in range(plan.rounds):
            for length in plan.lengths:
                for name, process in processes.items():
                    process.hear(length, TURN)
                    own = taken[name].setdefault(timed(length, threads), [])
                    own.append(process.hear(length, TURN)[0])
    return taken


def from_fresh(contestants: Sequence[Contestant], starts: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds to a first vector and peak memory in megabytes, of fresh processes of one thread, in turns."""
    found: dict[str, list[tuple[float, float]]] = {each.name: [] for each in contestants}
    with tempfile.TemporaryDirectory() as folder:
        opened = {each.name: _bare(each, Path(folder) / str(k)) for k, each in enumerate(contestants)}
        for _ in range(starts):
            for name, (kind, place) in opened.items():
                begun = perf_counter()
                with Hearing(name, kind, place, 1) as process:
                    process.hear(1)
                    start = perf_counter() - begun
                    found[name].append((start, process.hear(COUNTED)[1]))
    return found


def _bare(each: Contestant, folder: Path) -> tuple[Kind, str]:
    """Let an ONNX peer be opened without torch, which it does not need, by recording what it is fed."""
    kind, place = each.opened
    if kind != "representation" or each.graph_runs is None:
        return kind, place
    folder.mkdir()
    for seconds in (1, COUNTED):
        write_feeds(folder, seconds, each.graph_runs(noise(seconds)))
    return "graphs", str(folder)


class Hearing:
    """A running process of `earkit.benchmarks.hearing`; it ends with the block."""

    def __init__(self, name: str, kind: Kind, place: str, threads: int) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
        command = [sys.executable, "-m", "earkit.benchmarks.hearing", kind, place, str(threads)]
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self._process = subprocess.Popen(  # noqa: S603 - no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **limits},
        )

    def __enter__(self) -> Self:
        return self

    def hear(self, seconds: int, turn: float = 0.0) -> tuple[float, float]:
        """Have it hear a clip, again and again for a turn.

        -> the seconds that one took, their median, and its peak memory so far in megabytes.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{seconds} {turn}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it says why below
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["nothing"]
            raise CheckpointError(
                f"{self._name} does not run in a process of its own, which said: {said[-1]}"
            )
        told = json.loads(answer)
        return told["seconds"], told["peak_mb"]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
