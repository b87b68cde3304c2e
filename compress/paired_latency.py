"""Latency of several graphs in turns, so that they share the machine's moods."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import onnx

from earkit.compress.graph import open_graph, run
from earkit.runtime.audio import SAMPLE_RATE

SECONDS = 10.0
ROUNDS = 15


def paired_latency(
    protos: Sequence[onnx.ModelProto], threads: int, rounds: int = ROUNDS
) -> list[tuple[float, float]]:
    """Give for each median milliseconds for a clip of noise, and how many times as fast as the first it is.

    The second is the median of the ratios within each round; a first round does not count.
    """
    sessions = [open_graph(proto, threads) for proto in protos]
    samples = int(SECONDS * SAMPLE_RATE)
    noise = (np.random.default_rng(0).standard_normal(samples) / 10).astype(np.float32)
    taken = np.zeros((1 + rounds, len(sessions)))
    for times in taken:
        for place, session in enumerate(sessions):
            begun = perf_counter()
            run(session, [noise])
            times[place] = perf_counter() - begun
    counted = taken[1:]
    speeds = np.median(counted[:, :1] / counted, axis=0)
    return [
        (1000 * float(median), float(speed))
        for median, speed in zip(np.median(counted, axis=0), speeds, strict=True)
    ]
