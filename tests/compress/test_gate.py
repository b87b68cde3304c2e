"""What passes, what is refused and why, and which one is taken."""

import dataclasses

import onnx
import pytest

from earkit.compress import gate
from earkit.compress.fidelity import Fidelity
from earkit.compress.gate import Candidate, Measured, best, measure, unlike

GOOD = Fidelity(0.995, 0.98, 0.9999, 0.97, 0.05, {"phones": 0.995, "words": 1.01})


def of_size(size: int) -> onnx.ModelProto:
    return onnx.ModelProto(doc_string="x" * size)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, ""),
        ({"cosine": 0.99, "together": 0.999, "probes": {"phones": 0.99}}, ""),
        ({"worst_cosine": 0.2, "tokens": 0.1, "frames": 9.0}, ""),
        ({"cosine": 0.9899}, "cosine 0.9899, below 0.99"),
        ({"cosine": float("nan")}, "cosine nan, below 0.99"),
        ({"together": 0.9989}, "cosine 0.9989 to itself in a batch or in steps, below 0.999"),
        ({"probes": {"phones": 1.0, "words": 0.985}}, "keeps 98.5% of the probe of words, below 99%"),
    ],
)
def test_what_is_another_model_is_refused(change: dict[str, float], sentence: str) -> None:
    assert unlike(dataclasses.replace(GOOD, **change)) == sentence


def rows(
    monkeypatch: pytest.MonkeyPatch,
    goal: gate.Goal,
    candidates: dict[str, tuple[int, tuple[float, float], Fidelity]],
) -> dict[str, Measured]:
    """Measured with times that are given: size, milliseconds on one thread and on two (float: 20 and 10)."""
    times = [(20.0, 10.0), *(pair for _, pair, _ in candidates.values())]

    def pretend(protos: list[onnx.ModelProto], threads: int) -> list[tuple[float, float]]:
        assert len(protos) == len(times)
        column = [pair[threads - 1] for pair in times]
        return [(each, column[0] / each) for each in column]

    monkeypatch.setattr(gate, "paired_latency", pretend)
    monkeypatch.setattr(gate, "usable_threads", lambda: 8)
    made = [Candidate(name, "int8", of_size(size)) for name, (size, _, _) in candidates.items()]
    fidelities = [fidelity for _, _, fidelity in candidates.values()]
    return {row.candidate.name: row for row in measure(of_size(1000), made, fidelities, goal)}


def test_what_does_not_pay_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = {
        "pays": (300, (9.0, 8.0), GOOD),
        "slow on one": (200, (21.0, 8.0), GOOD),
        "slow on two": (200, (9.0, 10.0), GOOD),
        "large": (1000, (9.0, 8.0), GOOD),
        "wrong": (100, (1.0, 1.0), dataclasses.replace(GOOD, cosine=0.5)),
    }
    found = rows(monkeypatch, "speed", candidates)
    refusals = {name: row.refusal for name, row in found.items()}
    assert refusals == {
        "pays": "",
        "slow on one": "not faster with threads: 1",
        "slow on two": "not faster with threads: 2",
        "large": "not smaller",
        "wrong": "cosine 0.5000, below 0.99",
    }
    assert [(s.threads, s.milliseconds, s.times_float) for s in found["pays"].speeds] == [
        (1, 9.0, 20 / 9),
        (2, 8.0, 1.25),
    ]
    assert found["pays"].megabytes == pytest.approx(300e-6, rel=0.02)
    for_size = rows(monkeypatch, "size", candidates)
    assert {name for name, row in for_size.items() if not row.refusal} == {
        "pays",
        "slow on one",
        "slow on two",
    }


def test_the_fastest_or_smallest_is_taken_and_among_equals_the_truest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truer = dataclasses.replace(GOOD, cosine=0.999)
    candidates = {
        "fast": (500, (10.0, 6.0), GOOD),
        "as fast, truer": (450, (10.2, 6.0), truer),
        "slower, true": (300, (12.0, 6.0), dataclasses.replace(GOOD, cosine=1.0)),
        "wrong": (100, (1.0, 1.0), dataclasses.replace(GOOD, cosine=0.5)),
    }
    for goal, expected in (("speed", "as fast, truer"), ("size", "slower, true")):
        taken = best(list(rows(monkeypatch, goal, candidates).values()), goal)
        assert taken is not None
        assert taken.candidate.name == expected
    nothing = rows(monkeypatch, "speed", {"wrong": candidates["wrong"]})
    assert best(list(nothing.values()), "speed") is None


def test_one_usable_processor_is_asked_for_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "usable_threads", lambda: 1)
    monkeypatch.setattr(gate, "paired_latency", lambda protos, threads: [(1.0 / threads, 1.0)] * len(protos))
    (row,) = measure(of_size(9), [Candidate("a", "int8", of_size(1))], [GOOD], "size")
    assert [speed.threads for speed in row.speeds] == [1]
