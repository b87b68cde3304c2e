"""What a stream costs: its time by the length of a step, and its memory over many pushes.

    python -m earkit.benchmarks.stream_cost [--rounds 5] [--pushes 20000] [--steps 300]

The default student of the other benchmarks as a step graph, in float and as `kit export --streaming --int8`
makes it. Each round every stream hears the same ten seconds on one thread, all in turns. Memory is that of a
process of its own, as `earkit.benchmarks.soak` has it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.hearing import noise
from earkit.benchmarks.results import Row, store
from earkit.compress.calibration_clips import clips_of_run
from earkit.compress.quantize import quantize
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.export.student import export_student
from earkit.runtime.streaming_model import StreamingModel

NAME = "stream_cost"
COMMAND = "python -m earkit.benchmarks.stream_cost"
STEPS_MS = (40, 80, 160, 320)
SECONDS = 10


def step_graphs(run: Path, folder: Path) -> dict[str, Path]:
    """Export a student as a step graph, and quantize that."""
    clips = clips_of_run(run)
    assert clips is not None
    file = export_student(run, folder / "float.onnx", streaming=True).file
    made = quantize(file, clips, out=folder / "int8.onnx", say=print)
    return {"float32": file} | ({made.chosen: made.file} if made.chosen else {})


def times(files: dict[str, Path], rounds: int) -> list[Row]:
    """Seconds for a second of audio, and for a step: medians over rounds in turns."""
    models = {name: StreamingModel.load(file) for name, file in files.items()}
    taken: dict[tuple[str, int], list[float]] = {}
    audio = noise(SECONDS)
    for _ in range(rounds + 1):
        for name, model in models.items():
            for step in STEPS_MS:
                stream = model.stream(16_000, step_ms=step)
                begun = perf_counter()
                stream.push(audio)
                taken.setdefault((name, step), []).append(perf_counter() - begun)
    return [
        {
            "name": name,
            "step_ms": step,
            "real_time_factor": round(median(own[1:]) / SECONDS, 5),
            "milliseconds_per_step": round(median(own[1:]) / SECONDS * step, 3),
        }
        for (name, step), own in taken.items()
    ]


def soaked(model: Path, pushes: int) -> Row:
    """Do that in a process of its own."""
    script = f"""
import json, pathlib
from earkit.benchmarks.soak import soak_streams
seen = soak_streams(pathlib.Path({str(model)!r}), {pushes})
print(json.dumps([seen.slope, max(seen.resident), seen.resident[-1] - seen.resident[0]]))
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
    slope, most, gained = json.loads(done.stdout)
    return {"bytes_per_push": round(slope, 2), "most_mb": round(most / 1e6, 1), "gained_mb": gained / 1e6}


def main() -> None:
    """Measure, and store."""
    parser = bench.options(__doc__, seeds=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pushes", type=int, default=20_000)
    given = parser.parse_args()
    run = bench.default_run(given.runs, 0, default_corpus(), given.steps)
    with tempfile.TemporaryDirectory() as folder:
        files = step_graphs(run, Path(folder))
        rows = times(files, given.rounds)
        memory = soaked(files["float32"], given.pushes)
    for row in (*rows, memory):
        print(row)
    settings = {"rounds": given.rounds, "pushes": given.pushes, "seconds": SECONDS, "steps": given.steps}
    print(store(NAME, COMMAND, rows, memory=memory, **settings))


if __name__ == "__main__":
    main()
