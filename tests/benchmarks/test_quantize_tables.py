"""The tables of quantization and of speed, which share what is known of quality."""

from pathlib import Path

import pytest

from earkit.benchmarks import results
from earkit.benchmarks.quantize_tables import quantize_quality, teacher_speed


def way(name: str, words: float, refusal: str = "") -> results.Row:
    drift = {"cosine": 0.5, "worst_cosine": 0.25, "tokens": 1.0, "refusal": refusal}
    quality = {"phones": 0.5, "words": words, "word_1nn": 0.75}
    return (
        {"name": name, "seed": 0, "megabytes": 3.0}
        | drift
        | quality
        | {
            "milliseconds": {"1": 8.0},
            "times_float": {"1": 2.0},
        }
    )


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    ways = [way("int8", 0.25), way("int8", 0.75) | {"seed": 1}, way("float32", 0.5, "not smaller")]
    results.store("quantize_quality", "python -m x", ways)
    names = ["the teacher", "`tiny`, float32 ONNX", "`tiny`, int8"]
    speed = {"megabytes": 3.0, "milliseconds, 1": 5.0, "times teacher, 1": 200.4, "times smaller": 10.0}
    results.store(
        "teacher_speed", "python -m y", [{"name": n, **speed} for n in names], seconds=10, steps=300
    )


def test_ways_are_means_of_their_seeds() -> None:
    lines = quantize_quality().splitlines()
    assert lines[2] == (
        "| int8 | 3.00 | 8.0 (2.00) | 0.5000 | 0.2500 | 1.0000 | 50.0 (50.0 to 50.0) | "
        "50.0 (25.0 to 75.0) | 75.0 (75.0 to 75.0) | passes |"
    )
    assert lines[3].endswith("| 50.0 | 50.0 | 75.0 | not smaller |")


def test_speed_has_the_quality_of_the_same_file() -> None:
    lines = teacher_speed().splitlines()
    assert lines[2] == "| the teacher | 3.00 | 10x | 5.0 ms, 200x | | | |"
    assert lines[3] == "| `tiny`, float32 ONNX | 3.00 | 10x | 5.0 ms, 200x | 50.0 | 50.0 | 75.0 |"
    assert "| 50.0 (25.0 to 75.0) |" in lines[4]
