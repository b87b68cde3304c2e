"""The gate: a quantized graph must pay, and must still be the model that it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from earkit.compress.fidelity import Fidelity
from earkit.runtime.paired_latency import paired_latency
from earkit.runtime.threads import usable_threads

Goal = Literal["speed", "size"]

LEAST_COSINE = 0.99
"""Mean over clips, to the float parent."""
LEAST_TOGETHER = 0.999
"""The invariance promise."""
LEAST_PROBE = 0.99
"""Of the parent's accuracy."""
AS_GOOD = 1.03
"""Figures within 3 % of the best are as good: then it is the cosine that decides."""


@dataclass(frozen=True)
class Candidate:
    """A way to quantize, tried."""

    name: str
    weights: Literal["float32", "float16", "int8", "int4"]
    """Of what type most are in the file."""
    proto: onnx.ModelProto


@dataclass(frozen=True)
class Speed:
    """For 10 s of audio, out of one run in which all took turns."""

    threads: int
    milliseconds: float
    """Median."""
    times_float: float
    """How many times as fast as the parent."""


@dataclass(frozen=True)
class Measured:
    """A candidate with all that was measured of it, and why it is refused; empty if it is not."""

    candidate: Candidate
    megabytes: float
    fidelity: Fidelity
    speeds: tuple[Speed, ...]
    refusal: str


def measure(
    parent: onnx.ModelProto, candidates: Sequence[Candidate], fidelities: Sequence[Fidelity], goal: Goal
) -> tuple[Measured, ...]:
    """Time all candidates beside their parent, on one thread and on two where there are, and judge them."""
    counts = range(1, min(2, usable_threads()) + 1)
    timed = {n: paired_latency([parent, *(each.proto for each in candidates)], n)[1:] for n in counts}
    rows = []
    for place, (candidate, fidelity) in enumerate(zip(candidates, fidelities, strict=True)):
        speeds = tuple(Speed(n, *timed[n][place]) for n in counts)
        size = candidate.proto.ByteSize()
        refusal = unlike(fidelity) or _costs(size, parent.ByteSize(), speeds, goal)
        rows.append(Measured(candidate, size / 1e6, fidelity, speeds, refusal))
    return tuple(rows)


def unlike(fidelity: Fidelity) -> str:
    """Say why it is no longer the model that it was made of; nothing if it is."""
    if not fidelity.cosine >= LEAST_COSINE:
        return f"cosine {fidelity.cosine:.4f}, below {LEAST_COSINE:g}"
    if not fidelity.together >= LEAST_TOGETHER:
        return f"cosine {fidelity.together:.4f} to itself in a batch or in steps, below {LEAST_TOGETHER:g}"
    for task, kept in fidelity.probes.items():
        if not kept >= LEAST_PROBE:
            return f"keeps {kept:.1%} of the probe of {task}, below {LEAST_PROBE:.0%}"
    return ""


def _costs(size: int, parent: int, speeds: Sequence[Speed], goal: Goal) -> str:
    """Say why it does not pay; nothing if it does."""
    if size >= parent:
        return "not smaller"
    slow = [each for each in speeds if each.times_float <= 1]
    if goal == "speed" and slow:
        return f"not faster with threads: {slow[0].threads}"
    return ""


def best(rows: Sequence[Measured], goal: Goal) -> Measured | None:
    """Choose the fastest on one thread or the smallest, and out of those as good the truest."""
    passed = [row for row in rows if not row.refusal]
    costs = [row.speeds[0].milliseconds if goal == "speed" else row.megabytes for row in passed]
    good = [row for row, cost in zip(passed, costs, strict=True) if cost <= AS_GOOD * min(costs)]
    return max(good, key=lambda row: row.fidelity.cosine, default=None)
