"""The log of a run, a step of which was done twice."""

from pathlib import Path

from earkit.benchmarks.run_metrics import metrics


def test_the_last_time_counts(tmp_path: Path) -> None:
    lines = ['{"step": 1, "loss": 3}', '{"step": 2, "loss": 2}', '{"step": 2, "loss": 1}', '{"step": 3}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert metrics(tmp_path) == [{"step": 1, "loss": 3}, {"step": 2, "loss": 1}, {"step": 3}]
