"""The tables of streams: their delay by a student's look-ahead, and what they cost."""

from earkit.benchmarks.markdown_table import markdown_table
from earkit.benchmarks.results import Row, load, measured
from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.front_end import FRAME
from earkit.distill.student import StudentConfig
from earkit.export.graph import select
from earkit.export.streaming import StepGraph
from earkit.runtime.audio import SAMPLE_RATE

AHEAD = (3, 2, 1, 0)
STEPS_MS = (40, 80)


def stream_delay() -> str:
    """Delay of `tiny` by the look-ahead of its kernels, the default first."""
    heads = (
        "`student.kernel_ahead`",
        "frames of delay",
        *(f"latency with `--step {step}`" for step in STEPS_MS),
    )
    lines = []
    for ahead in AHEAD:
        model = DistilledStudent(StudentConfig(size="tiny", kernel_ahead=ahead), Outputs())
        delay = StepGraph(model, select(model, streaming=True)).stream.delay
        waits = (delay * FRAME / SAMPLE_RATE + step / 1000 for step in STEPS_MS)
        lines.append([str(ahead), str(delay), *(f"{wait:.2f} s" for wait in waits)])
    return markdown_table(heads, lines)


def stream_cost() -> str:
    """Time by the length of a step, and memory over many pushes."""
    stored = load("stream_cost")
    rows: list[Row] = stored["rows"]
    steps = list(dict.fromkeys(row["step_ms"] for row in rows))
    heads = ("`--step`", *map(str, steps))
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        lines.append([f"{name}, real-time factor", *(f"{row['real_time_factor']:.4f}" for row in own)])
        lines.append([f"{name}, ms per step", *(f"{row['milliseconds_per_step']:.2f}" for row in own)])
    memory, settings = stored["settings"]["memory"], stored["settings"]
    note = (
        f"`tiny`, one thread. Memory over {settings['pushes']} pushes to three streams at 16, 44.1 and 8 "
        f"kHz: {memory['gained_mb']:.2f} MB gained in all, in the second half "
        f"{memory['bytes_per_push']:+.1f} bytes a push; the process had at most {memory['most_mb']:.0f} MB. "
    )
    return markdown_table(heads, lines, note + measured(stored))
