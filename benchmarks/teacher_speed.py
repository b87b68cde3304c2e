"""How much faster and smaller than its teacher? A `dinosr_base` in torch float32 against a `tiny` student.

    python -m earkit.benchmarks.teacher_speed [--rounds 7] [--steps 300]

The teacher's encoder has random weights: they change nothing about its time. The student is the default one
of the other benchmarks, exported, and quantized by `kit quantize` for speed and for size. In every round each
hears a clip of 10 s for half a second, and once more, which counts: meanwhile the threads of whoever ran
before come to rest.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import onnx
import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.hearing import noise
from earkit.benchmarks.results import store
from earkit.compress.calibration_clips import clips_of_run
from earkit.compress.quantize import quantize
from earkit.distill.dinosr import DinoSR
from earkit.distill.pretrain import load_config
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.export.student import export_student
from earkit.runtime.cache import cache_folder
from earkit.runtime.inference import open_graph, pad

NAME = "teacher_speed"
COMMAND = "python -m earkit.benchmarks.teacher_speed"
SECONDS = 10
TEACHER = "dinosr_base"
THREADS = (1, 2)

SETTLE = 0.5

Hears = Callable[[], object]
"""One run over the clip, whose inputs are ready."""


def student_files(student_run: Path, folder: Path) -> dict[str, Path]:
    """Export a student, and quantize it for speed and for size."""
    clips = clips_of_run(student_run)
    assert clips is not None
    file = export_student(student_run, folder / "float.onnx").file
    fast, small = (
        quantize(file, clips, goal=goal, out=folder / f"{goal}.onnx", say=print) for goal in ("speed", "size")
    )
    return {
        "`tiny`, float32 ONNX": file,
        f"`tiny`, {fast.chosen or 'float32'}": fast.file,
        f"`tiny`, {small.chosen or 'float32'}": small.file,
    }


def teacher() -> torch.nn.Module:
    """Give the encoder alone, without what only training needs."""
    torch.manual_seed(0)
    network: torch.nn.Module = DinoSR(load_config(TEACHER).model).student
    return network.eval()


def times(contestants: dict[str, Hears], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in every round, all in turns; a first round does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(1 + rounds):
        for name, hear in contestants.items():
            settled = perf_counter() + SETTLE
            hear()
            while perf_counter() < settled:
                hear()
            begun = perf_counter()
            hear()
            taken[name].append(perf_counter() - begun)
    return {name: each[1:] for name, each in taken.items()}


def main() -> None:
    """Time all, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    arguments = parser.parse_args()
    manifest = default_corpus()
    student = bench.default_run(arguments.runs, 0, manifest, arguments.steps)
    network = teacher()
    name = f"`{TEACHER}`, torch float32"
    with tempfile.TemporaryDirectory() as folder:
        files = student_files(student, Path(folder))
        sizes = {name: 4 * sum(p.numel() for p in network.parameters())}
        sizes |= {label: file.stat().st_size for label, file in files.items()}
        protos = {label: onnx.load(file) for label, file in files.items()}
    rows: list[dict[str, Any]] = [{"name": each, "megabytes": size / 1e6} for each, size in sizes.items()]
    clip = noise(SECONDS)
    for threads in THREADS:
        torch.set_num_threads(threads)
        contestants: dict[str, Hears] = {name: partial(network, torch.from_numpy(clip)[None])}
        for label, proto in protos.items():
            contestants[label] = partial(open_graph(proto, threads).run, None, pad([clip]))
        with torch.inference_mode():
            taken = times(contestants, arguments.rounds)
        for row in rows:
            own = taken[row["name"]]
            ratios = [t / o for t, o in zip(taken[name], own, strict=True)]
            row[f"milliseconds, threads: {threads}"] = round(1000 * median(own), 2)
            row[f"times teacher, threads: {threads}"] = round(median(ratios), 1)
    for row in rows:
        row["times smaller"] = round(rows[0]["megabytes"] / row["megabytes"], 1)
        print(row)
    print(store(NAME, COMMAND, rows, rounds=arguments.rounds, seconds=SECONDS, steps=arguments.steps))


if __name__ == "__main__":
    main()
