"""Medians, paired ratios and fresh processes; and that they hear what they should."""

import subprocess
import sys
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from earkit.benchmarks import cost
from earkit.benchmarks.contestants import Contestant, contestant
from earkit.benchmarks.cost import TURN, Hearing, Plan, costs, from_fresh, in_turns, timed
from earkit.benchmarks.hearing import noise, peak_megabytes
from earkit.runtime.errors import CheckpointError


class Scripted:
    """A process whose every second turn takes what a script says, and others an hour."""

    heard: list[tuple[str, int, float]] = []  # noqa: RUF012 - of the whole test
    script: dict[str, list[float]] = {}  # noqa: RUF012 - of the whole test

    def __init__(self, name: str, kind: str, place: str, threads: int) -> None:
        self.name, self.counts, self.taken = name, False, iter(self.script[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def hear(self, seconds: int, turn: float = 0.0) -> tuple[float, float]:
        self.heard.append((self.name, seconds, turn))
        self.counts = bool(turn) and not self.counts
        return next(self.taken) if turn and not self.counts else 3600.0, 99.0


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    monkeypatch.setattr(cost, "Hearing", Scripted)
    monkeypatch.setattr(Scripted, "heard", [])
    monkeypatch.setattr(Scripted, "script", {"a": [1.0, 2.0, 9.0], "b": [2.0, 2.0, 3.0]})
    return Scripted


PLAN = Plan(lengths=(10,), threads=(1,), rounds=3, starts=1)
A, B = (Contestant(name, "test", ("file", name), 5, 1.23456, len) for name in "ab")


def test_medians_and_ratios_within_a_round(scripted: type[Scripted]) -> None:
    first, second = costs([A, B], PLAN)
    assert (first.seconds, second.seconds) == ({"10 s, 1 thread": 2.0}, {"10 s, 1 thread": 2.0})
    assert first.times == {"10 s, 1 thread": 1.0}
    assert second.times == {"10 s, 1 thread": 1.0}  # of 0.5, 1 and 3, not 2 / 2 of the medians by luck
    assert first.multiply_adds == {"1": 16_000, "10": 160_000}
    assert (first.parameters, first.megabytes, first.peak_mb) == (5, 1.235, 99.0)
    scripted.script["b"] = [4.0, 1.0, 9.0]
    assert costs([A, B], PLAN)[1].times == {"10 s, 1 thread": 1.0}  # of 0.25, 2 and 1: medians would give 0.5


def test_turns(scripted: type[Scripted]) -> None:
    taken = in_turns([A, B], 1, PLAN)
    assert taken["a"] == {"10 s, 1 thread": [1.0, 2.0, 9.0]}
    turn = [("a", 10, TURN), ("a", 10, TURN), ("b", 10, TURN), ("b", 10, TURN)]
    assert scripted.heard == [("a", 1, 0), ("b", 1, 0), *turn * 3]


def test_threads_that_the_machine_has_not_are_left_out(scripted: type[Scripted]) -> None:
    made = costs([A], Plan(lengths=(10,), threads=(1, 4096), rounds=1, starts=1))
    assert list(made[0].seconds) == ["10 s, 1 thread"]


def test_names() -> None:
    assert (timed(1, 1), timed(60, 2)) == ("1 s, 1 thread", "60 s, 2 threads")


def test_a_model_file_in_processes_of_its_own(clip_model: Path) -> None:
    those = [contestant("log-mel"), contestant(str(clip_model))]
    taken = in_turns(those, 1, Plan(lengths=(1, 3), rounds=2))
    for each in taken.values():
        assert each.keys() == {"1 s, 1 thread", "3 s, 1 thread"}
        assert all(0 < value < 30 for values in each.values() for value in values)
    fresh = from_fresh(those, 1)
    for name, ((start, peak),) in fresh.items():
        assert start > max(taken[name]["1 s, 1 thread"])  # an interpreter starts first
        assert 15 < peak < 250  # no torch in it


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"owl does not run in a process of its own.*there is no model"),
        Hearing("owl", "file", str(tmp_path / "owl.onnx"), 1) as process,
    ):
        process.hear(1)


def test_peak_memory_is_the_process_own() -> None:
    """Also when whoever starts it has had more."""
    script = """
from earkit.benchmarks.hearing import peak_megabytes
before = peak_megabytes()
import numpy
numpy.ones(25_000_000)
print(before, peak_megabytes())
"""
    large = np.ones(50_000_000)  # 400 MB
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before < 100 < len(large)
    assert 200 < after - before < 280
    assert peak_megabytes() > 400


def test_noise_is_the_same_for_everyone() -> None:
    assert noise(2).shape == (32_000,)
    np.testing.assert_array_equal(
        noise(2)[:100], (np.random.default_rng(0).standard_normal(100) / 10).astype("f4")
    )
