"""How long a model file takes, and on what."""

import platform
import time
from pathlib import Path

import numpy as np
import onnx

from earkit.export.verify import open_graph
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.instruction_sets import instruction_sets
from earkit.runtime.model_file import Latency
from earkit.runtime.threads import usable_threads

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


def machine() -> str:
    """Processor, the instruction sets that count here, and usable threads."""
    sets = [name for name, there in (instruction_sets() or {}).items() if there]
    return f"{_processor()} ({', '.join(sets) or 'no vector sets known'}), {usable_threads()} CPUs usable"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return named[0] if named else platform.processor() or platform.machine()
