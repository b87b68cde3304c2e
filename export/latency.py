"""How long a model file takes."""

import time

import numpy as np
import onnx

from earkit.export.verify import open_graph
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.model_file import Latency

RUNS = 15


def latency(proto: onnx.ModelProto, seconds: float = 10.0, threads: int = 1) -> Latency:
    """Median time for all outputs of one clip of noise, after a first run that does not count."""
    session = open_graph(proto, threads)
    samples = int(seconds * SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal((1, samples)).astype(np.float32) / 10
    inputs = {"audio": noise, "lengths": np.array([samples])}
    taken = []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        session.run(None, inputs)
        taken.append(time.perf_counter() - start)
    return Latency(seconds, threads, round(1000 * float(np.median(taken[1:])), 3))
