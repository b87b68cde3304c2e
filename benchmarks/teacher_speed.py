"""How much faster and smaller than its teacher? A `dinosr_base` in torch float32 against a `tiny` student.

    python -m earkit.benchmarks.teacher_speed [--rounds 7] [--steps 300]

The teacher has random weights: they change nothing about its time. The student is the default one of the
other benchmarks, exported, and quantized by `kit quantize` for speed and for size. Each hears clips of 10 s
in a process of its own, as `earkit.benchmarks.cost` does it; the teacher gives frames, the others an
embedding.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.contestants import Contestant, contestant, of_model_file
from earkit.benchmarks.cost import Plan, in_turns, timed
from earkit.benchmarks.results import store
from earkit.compress.calibration_clips import clips_of_run
from earkit.compress.quantize import quantize
from earkit.distill.dinosr import DinoSR, save_teacher
from earkit.distill.pretrain import load_config
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.export.student import export_student
from earkit.runtime.cache import cache_folder

NAME = "teacher_speed"
COMMAND = "python -m earkit.benchmarks.teacher_speed"
SECONDS = 10
TEACHER = "dinosr_base"
THREADS = (1, 2)


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


def teacher(folder: Path) -> tuple[Contestant, float]:
    """Write a teacher; gives it, and the megabytes of its encoder, without what only training needs."""
    torch.manual_seed(0)
    network = DinoSR(load_config(TEACHER).model)
    save_teacher(network, folder)
    return contestant(str(folder)), 4e-6 * sum(p.numel() for p in network.student.parameters())


def main() -> None:
    """Time all, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    arguments = parser.parse_args()
    student = bench.default_run(arguments.runs, 0, default_corpus(), arguments.steps)
    plan = Plan(lengths=(SECONDS,), threads=THREADS, rounds=arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        first, megabytes = teacher(Path(folder) / "teacher")
        files = student_files(student, Path(folder))
        everyone = [first, *(of_model_file(file, label) for label, file in files.items())]
        rows: list[dict[str, Any]] = [{"name": each.name, "megabytes": each.megabytes} for each in everyone]
        rows[0] = {"name": f"`{TEACHER}`, torch float32", "megabytes": megabytes}
        for threads in THREADS:
            kind = timed(SECONDS, threads)
            taken = [each[kind] for each in in_turns(everyone, threads, plan).values()]
            for row, own in zip(rows, taken, strict=True):
                ratios = [t / o for t, o in zip(taken[0], own, strict=True)]
                row[f"milliseconds, threads: {threads}"] = round(1000 * median(own), 2)
                row[f"times teacher, threads: {threads}"] = round(median(ratios), 1)
    for row in rows:
        row["times smaller"] = round(rows[0]["megabytes"] / row["megabytes"], 1)
        print(row)
    print(store(NAME, COMMAND, rows, rounds=arguments.rounds, seconds=SECONDS, steps=arguments.steps))


if __name__ == "__main__":
    main()
