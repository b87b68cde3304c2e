"""The Pareto front against its definition, and tables that say what was measured."""

import numpy as np
import pytest

from earkit.benchmarks.cost import Cost
from earkit.benchmarks.cost_report import front, html, pareto, table, text_table
from earkit.benchmarks.speed import Speed

KINDS = ("1 s, 1 thread", "10 s, 1 thread", "10 s, 2 threads")
COSTS = [
    Cost(
        *("teacher", "teacher in torch", 93_000_000, 373.0, {"1": 10**9, "10": 12 * 10**9}),
        *(dict(zip(KINDS, (0.5, 2.0, 1.0), strict=True)), dict.fromkeys(KINDS, 1.0), 4.0, 900.0),
    ),
    Cost(
        *("log-mel", "floor, NumPy", 0, 0.0, {}),
        *(dict(zip(KINDS, (0.001, 0.005, 0.004), strict=True)), dict.fromkeys(KINDS, 400.0), 0.2, 40.0),
    ),
]


def test_pareto_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    points = {str(k): tuple(map(float, each)) for k, each in enumerate(rng.integers(0, 12, (60, 2)))}
    points["twin"] = points["0"]
    best = pareto(points)
    for name, (cost, quality) in points.items():
        beaten = False
        for other_cost, other in points.values():
            no_worse = other_cost <= cost and other >= quality
            beaten |= no_worse and (other_cost < cost or other > quality)
        assert (name in best) == (not beaten)
    assert ("twin" in best) == ("0" in best)


def test_the_front_is_a_group() -> None:
    plot = front({"fast": (1.0, 50.0), "good": (9.0, 90.0), "neither": (10.0, 40.0)}, "ms", "%")
    assert {point.name: point.group for point in plot.points} == {
        "fast": "on the Pareto front",
        "good": "on the Pareto front",
        "neither": "behind it",
    }
    assert plot.log_x


def test_table() -> None:
    heads, (teacher, floor) = table(COSTS)
    told = dict(zip(heads, teacher, strict=True))
    assert told["parameters"] == "93.00 M"
    assert told["multiply-adds, 10 s"] == "12 G"
    assert told["real-time factor, 1 s, 1 thread"] == "0.5"
    assert told["real-time factor, 10 s, 2 threads"] == "0.1"
    assert dict(zip(heads, floor, strict=True))["multiply-adds, 10 s"] == "\u2013"
    assert dict(zip(heads, floor, strict=True))["times as fast, 10 s, 1 thread"] == "400"
    assert "times as fast, 1 s, 1 thread" not in heads


def test_text_has_a_column_each() -> None:
    lines = text_table(COSTS).splitlines()
    assert lines[0].split() == ["teacher", "log-mel"]
    place = lines[0].index("log-mel")
    assert next(line for line in lines if line.startswith("cold start"))[place:] == "0.20 s"


@pytest.mark.parametrize("batches", [{}, {"log-mel": {"1": 2.0, "8": 1.5}}])
def test_page(batches: dict) -> None:
    nodes = {"log-mel": {"MatMul": 0.7, "Add": 0.295, "Shape": 0.005}}
    made = html(Speed(COSTS, {"1": 5e10, "2": 9e10}, {"teacher": {"1": 0.12, "2": 0.11}}, nodes, batches))
    assert "50 G multiply-adds/s on 1, 90 G multiply-adds/s on 2" in made
    assert "12.0%" in made
    assert "Where the time goes: log-mel" in made
    assert "MatMul" in made
    assert ">Shape<" not in made  # under a hundredth
    assert ("Batches" in made) == bool(batches)
    assert made.count("<svg") == 3 + bool(batches)
