"""Which block for the students? Quality of the same training against multiply-adds and time on a CPU.

    python -m earkit.benchmarks.student_blocks [--seeds 1] [--steps 300]

Blocks of convolution, local attention and both, and shorter look-aheads of the winner, all `tiny`, taught
alike by a `dinosr_nano` teacher on the embedded corpus. Time is the median of paired runs in one process,
torch, one thread, 10 s of audio, as a ratio to the convolution blocks.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells
from earkit.distill.distil_dry_run import multiply_adds
from earkit.distill.distillation import distil_config
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.student import Student, StudentConfig
from earkit.runtime.audio import SAMPLE_RATE

NAME = "student_blocks"
SECONDS = 10
BLOCKS = {
    "convolution": [],
    "attention": ["student.block=attention"],
    "hybrid": ["student.block=hybrid"],
    "convolution, one frame ahead": ["student.kernel_ahead=1"],
    "convolution, none ahead": ["student.kernel_ahead=0"],
    "convolution, kernel 15": ["student.kernel=15", "student.kernel_ahead=7"],
    "convolution, expansion 3": ["student.expansion=3"],
}
REFERENCE = "convolution"


def config_of(overrides: list[str]) -> StudentConfig:
    """Make the student that a run with these settings has."""
    return distil_config("general", teachers=["any"], student="tiny", overrides=overrides).student


def times(students: dict[str, Student], rounds: int = 15) -> dict[str, float]:
    """Median seconds of each, all in turns so that they share the machine's moods."""
    audio, lengths = torch.randn(1, SECONDS * SAMPLE_RATE) / 10, torch.tensor([SECONDS * SAMPLE_RATE])
    taken: dict[str, list[float]] = {name: [] for name in students}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(rounds + 2):
            for name, student in students.items():
                begun = time.perf_counter()
                student(audio, lengths)
                taken[name].append(time.perf_counter() - begun)
    torch.set_num_threads(before)
    return {name: statistics.median(each[2:]) for name, each in taken.items()}


def main() -> None:
    """Score every block that is missing, and measure the times of all where one has none."""
    given = bench.options(__doc__, seeds=1).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny", seconds=SECONDS)
    students = {name: Student(config_of(overrides)).eval() for name, overrides in BLOCKS.items()}
    for seed in range(given.seeds):
        for name, overrides in BLOCKS.items():
            if not cells.find(name=name, seed=seed):
                scores = _scores(given.runs, seed, manifest, name, [f"steps={given.steps}", *overrides])
                cells.keep([{"name": name, "seed": seed, **scores}])
    if not all("time_ratio" in row for row in cells.rows):
        costs = _costs(students)
        for row in cells.rows:
            row.update(costs[row["name"]])
        cells.keep([])


def _costs(students: dict[str, Student]) -> dict[str, dict[str, Any]]:
    measured = times(students)
    second = torch.zeros(1, SECONDS * SAMPLE_RATE)
    return {
        name: {
            "parameters": sum(p.numel() for p in student.parameters()),
            "multiply_adds_per_second": round(multiply_adds(student, second) / SECONDS),
            "lookahead_ms": round(1000 * student.config.lookahead / SAMPLE_RATE),
            "time_ratio": round(measured[name] / measured[REFERENCE], 3),
        }
        for name, student in students.items()
    }


def _scores(folder: Path, seed: int, manifest: Path, name: str, overrides: list[str]) -> dict[str, float]:
    teacher = str(bench.teacher_run(folder, seed, manifest))
    place = "default" if name == REFERENCE else "block_" + name.replace(", ", "_").replace(" ", "_")
    run = bench.student_run(folder, place, seed, manifest, teachers=[teacher], overrides=overrides)
    return bench.student_scores(bench.load(run), manifest, seed)


if __name__ == "__main__":
    main()
