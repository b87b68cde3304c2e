"""What belongs to an export, and shares and batches of a graph small enough to be known."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from earkit.benchmarks import speed as module
from earkit.benchmarks.contestants import contestant
from earkit.benchmarks.cost import Cost, Plan
from earkit.benchmarks.speed import BATCHES, batched, newest, nodes_of, speed, to_json


@pytest.fixture
def run(
    write_clip_graph: Callable[..., Path],
    write_step_graph: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A run with a float file, two made of the same weights, one of others, a step graph and another file."""
    folder = tmp_path / "runs" / "owl"
    write_clip_graph(folder / "owl-int4.onnx", parent_sha256="a", card="x")
    write_clip_graph(folder / "owl.onnx", parent_sha256="a", card="x" * 999)
    write_clip_graph(folder / "old.onnx", parent_sha256="b")
    write_step_graph(folder / "owl-stream.onnx", parent_sha256="a")
    (folder / "broken.onnx").write_bytes(b"?")
    os.utime(folder / "broken.onnx", (1, 1))
    write_clip_graph(folder / "owl-int8.onnx", parent_sha256="a", card="x" * 99)
    os.utime(folder / "owl-int8.onnx", (2e9, 2e9))
    (folder / "student").mkdir()
    (folder / "student" / "student.json").write_text("{}")
    (folder / "teachers.json").write_text(json.dumps([{"name": "gone"}, {"name": str(tmp_path / "t")}]))
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return folder


def test_newest(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    named = newest(said.append)
    assert named == [
        str(tmp_path / "t"),
        *("runs/owl", "runs/owl/owl.onnx", "runs/owl/owl-int8.onnx", "runs/owl/owl-int4.onnx"),
    ]
    assert said == ["leaving out the teacher gone, which is not on this machine"]


def test_nodes_of_all_graphs(clip_model: Path) -> None:
    found = nodes_of(contestant(str(clip_model)))
    assert sum(found.values()) == pytest.approx(1, abs=0.3)  # medians by operator need not sum to 1
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_batches(clip_model: Path) -> None:
    made = batched({"a": clip_model}, rounds=1)
    assert made.keys() == {"a"}
    assert list(made["a"]) == [str(n) for n in BATCHES]
    assert all(0 < taken < 10_000 for taken in made["a"].values())


def test_shares_of_the_peak(clip_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 G multiply-adds in 2 s on one thread, of 10 G a second."""
    times = {"10 s, 1 thread": 2.0, "10 s, 2 threads": 1.0}
    known = Cost("m", "", 1, 1.0, {"10": 5 * 10**9}, times, times, 1.0, 1.0)
    asked: list[Plan] = []

    def costs(those: object, plan: Plan, say: object) -> list[Cost]:
        asked.append(plan)
        return [known]

    monkeypatch.setattr(module, "costs", costs)
    monkeypatch.setattr(module, "usable_threads", lambda: 2)
    monkeypatch.setattr(module, "matrix_peak", lambda threads: threads * 1e10)
    monkeypatch.setattr(module, "PROFILED", 1)
    made = speed([str(clip_model)], quick=True)
    assert made.of_peak == {"m": {"1": 0.25, "2": 0.25}}
    assert made.peak == {"1": 1e10, "2": 2e10}
    assert asked[0].threads == (1, 2)
    told = json.loads(to_json(made))
    assert told["costs"][0]["multiply_adds"] == {"10": 5 * 10**9}
    assert {"cores", "git", "packages"} <= told["machine"].keys()
