"""`kit bench` as a person runs it; what it measures is tested with its module."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from earkit.benchmarks import speed
from earkit.benchmarks.cost import Plan
from earkit.cli.bench import bench


def kit(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(bench)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


def test_table_json_and_page(clip_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "QUICK", Plan(lengths=(1, 10), threads=(1,), rounds=1, starts=1))
    monkeypatch.setattr(speed, "matrix_peak", lambda threads: 1e10)
    out, page = tmp_path / "b.json", tmp_path / "b.html"
    done = kit(clip_model, "--quick", "--out", out, "--html", page)
    lines = done.stdout.splitlines()
    assert lines[0].strip() == str(clip_model)
    assert [line.split("  ")[0] for line in lines[1:5]] == ["kind", "parameters", "MB", "multiply-adds, 10 s"]
    told = json.loads(out.read_text())
    (cost,) = told["costs"]
    assert cost["seconds"].keys() == {"1 s, 1 thread", "10 s, 1 thread"}
    assert cost["times"] == {"1 s, 1 thread": 1.0, "10 s, 1 thread": 1.0}
    count = cost["multiply_adds"]["10"]
    share = told["of_peak"][str(clip_model)]["1"]
    assert share == pytest.approx(count / cost["seconds"]["10 s, 1 thread"] / 1e10)
    assert told["nodes"][str(clip_model)]
    assert "Where the time goes" in page.read_text()
    assert f"wrote {out}" in done.stderr
