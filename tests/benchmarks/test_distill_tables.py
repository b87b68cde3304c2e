"""Tables of distillation from stored results."""

from pathlib import Path

import pytest

from earkit.benchmarks import results
from earkit.benchmarks.distill_tables import task_quality


def test_the_task_stage_by_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe takes no steps, so it stands under every budget; what is not measured says so."""
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    cells = [
        ("probe", "a", 0, 0, 0, 0.5),
        ("probe", "a", 1, 0, 0, 0.7),
        ("--task", "a", 0, 0, 300, 0.8),
        ("--task", "a", 0, 3, 300, 0.75),
        ("scratch", "", 0, 0, 300, 0.9),
        ("scratch", "", 0, 0, 1200, 0.95),
    ]
    names = ("name", "teacher", "seed", "speakers", "budget", "accuracy")
    results.store("task_quality", "python -m x", [dict(zip(names, cell, strict=True)) for cell in cells])
    lines = [line for line in task_quality().splitlines() if line.startswith("|")]
    heads, _, scratch, task, probe = ([part.strip() for part in line.strip("|").split("|")] for line in lines)
    assert heads == [
        "",
        "teacher",
        "all speakers, 300 steps",
        "all speakers, 1200 steps",
        "3 speakers, 300 steps",
    ]
    assert scratch == ["scratch", "\u2013", "90.0", "95.0", "not yet"]
    assert task == ["--task", "a", "80.0", "not yet", "75.0"]
    assert probe == ["probe", "a", *["60.0 (50.0 to 70.0)"] * 2, "not yet"]
