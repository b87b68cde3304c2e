"""What a stream costs, of the small step graph of the tests; and the delay that its table tells."""

import sys
from pathlib import Path

import pytest

from earkit.benchmarks.soak import soak_streams
from earkit.benchmarks.stream_cost import STEPS_MS, soaked, times
from earkit.benchmarks.stream_tables import stream_delay
from earkit.distill.student import StudentConfig


def test_every_file_is_timed_in_every_length_of_step(step_graph: Path) -> None:
    rows = times({"one": step_graph, "other": step_graph}, rounds=1)
    assert [(row["name"], row["step_ms"]) for row in rows] == [
        (name, step) for name in ("one", "other") for step in STEPS_MS
    ]
    for row in rows:
        rounding = 0.5e-3 + 0.5e-5 * row["step_ms"]
        assert row["milliseconds_per_step"] == pytest.approx(
            row["real_time_factor"] * row["step_ms"], abs=rounding + 1e-9
        )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells resident memory so")
def test_memory_is_that_of_another_process(step_graph: Path) -> None:
    assert soak_streams(step_graph, 400).clips == [100, 200, 300, 400]
    row = soaked(step_graph, 400)
    assert 20 < row["most_mb"] < 200  # no torch in it
    assert abs(row["bytes_per_push"]) < 10_000


def test_the_delay_is_at_least_what_a_student_looks_ahead() -> None:
    lines = [line.strip("| ").split(" | ") for line in stream_delay().splitlines() if line[2:3].isdigit()]
    assert [int(line[0]) for line in lines] == [3, 2, 1, 0]
    for ahead, delay, *waits in lines:
        seconds = StudentConfig(size="tiny", kernel_ahead=int(ahead)).lookahead / 16_000
        assert seconds <= 0.04 * int(delay) < seconds + 0.08
        assert [float(wait.removesuffix(" s")) for wait in waits] == pytest.approx(
            [0.04 * int(delay) + step for step in (0.04, 0.08)]
        )
