"""Latency of several graphs in turns, so that they share the machine's moods."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from time import perf_counter

import numpy as np
import onnxruntime

from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.inference import STEP, Graph, Samples, open_graph, pad, run, steps, zero_states

SECONDS = 10.0
ROUNDS = 15
SETTLE = 0.05
"""Seconds for which each runs in its turn before it is timed: the threads of the one before come to rest."""


def paired_latency(graphs: Sequence[Graph], threads: int, rounds: int = ROUNDS) -> list[tuple[float, float]]:
    """Give for each median milliseconds for 10 s of noise, and how many times as fast as the first it is.

    Of a clip at once; a step graph is fed it in steps of 80 ms. The second is the median of the ratios within
    each round; a first round does not count.
    """
    sessions = [open_graph(graph, threads) for graph in graphs]
    samples = int(SECONDS * SAMPLE_RATE)
    noise = (np.random.default_rng(0).standard_normal(samples) / 10).astype(np.float32)
    taken = np.zeros((1 + rounds, len(sessions)))
    for times in taken:
        for place, session in enumerate(sessions):
            settled = perf_counter() + SETTLE
            _hear(session, noise)
            while perf_counter() < settled:
                _hear(session, noise)
            begun = perf_counter()
            _hear(session, noise)
            times[place] = perf_counter() - begun
    counted = taken[1:]
    speeds = np.median(counted[:, :1] / counted, axis=0)
    return [
        (1000 * float(median), float(speed))
        for median, speed in zip(np.median(counted, axis=0), speeds, strict=True)
    ]


def _hear(session: onnxruntime.InferenceSession, sound: Samples) -> None:
    if zero_states(session, 1):
        fed = islice(steps(session, [sound]), len(sound) // STEP)  # not the frames behind its end
        deque(fed, maxlen=0)
    else:
        run(session, pad([sound]))
