"""The table of pruning, cell by cell."""

from pathlib import Path

import pytest

from earkit.benchmarks import results
from earkit.benchmarks.prune_tables import prune_quality


def test_the_whole_student_is_its_own_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    cut = {"multiply_adds": 0.6, "speed": 1.25, "phones": 0.25, "words": 0.75, "retained": 0.5}
    early = {"pruned phones": 0.2, "pruned words": 0.1, "pruned loss": 9.0, "loss": 7.0}
    other = {"speed": 1.75, "phones": 0.75, "retained": 0.7, "loss": 7.5}
    rows = [
        {"name": "whole", "seed": 0, "phones": 0.5, "words": 0.75},
        {"name": "deep", "seed": 0, **cut, "multiply_adds": 0.4},  # a budget's rows stand together
        {"name": "taylor", "seed": 0, **cut, **early},
        {"name": "taylor", "seed": 1, **cut, **early, **other},
        {"name": "rounds", "seed": 0, **cut},
    ]
    results.store("prune_quality", "python -m x", rows)
    lines = prune_quality().splitlines()
    assert lines[2] == "| whole | 1.00 | 1.00 | | | | 50.0 | 75.0 | | |"
    assert lines[3].startswith("| taylor | 0.60 | 1.50 | 20.0 (20.0 to 20.0) | 10.0 (")
    assert "| 9.00 (9.00 to 9.00) | 50.0 (25.0 to 75.0) |" in lines[3]
    assert lines[3].endswith("| 7.25 (7.00 to 7.50) | 60.0 (50.0 to 70.0) |")
    assert lines[4] == "| rounds | 0.60 | 1.25 | | | | 25.0 | 75.0 | | 50.0 |"
    assert lines[5].startswith("| deep | 0.40 |")
    assert "2 seed(s)" in lines[7]
