"""`kit demo` as a person runs it again: what it prints of a demo that is done, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earkit.benchmarks.demo_record import Record, Settings

Kit = Callable[..., tuple[int, str, str]]

RESULTS: dict[str, dict[str, Any]] = {
    "speech": {"minutes": 60.0, "speakers": 48, "held_out": 12},
    "teacher": {"steps": 750},
    "student": {"steps": 100},
    "pruned": {
        "rows": [
            {"name": "before", "parameters": 5_000_000, "multiply_adds": 9e8, "speed": 1.0, "quality": {}},
            {"name": "round 1", "parameters": 3_000_000, "multiply_adds": 6e8, "speed": 1.5, "quality": {}},
        ]
    },
    "files": {
        "models": {
            "teacher": {"parameters": 1_800_000, "bytes": 7_200_000},
            "student": {"parameters": 5_000_000, "bytes": 20_000_000, "file": "tiny.onnx"},
            "pruned": {"parameters": 3_000_000, "bytes": 12_000_000, "file": "tiny-pruned.onnx"},
        },
        "chosen": "",
        "tried": [
            {
                "name": "dynamic int8",
                "bytes": 3_000_000,
                "times_float": 1.4,
                "cosine": 0.98,
                "refusal": "cosine 0.9800, below 0.99",
            }
        ],
    },
    "embedding": {"files": 400, "seconds": 150.0, "model": "tiny-pruned.onnx"},
    "search": {
        "words": 50,
        "speakers": 12,
        "files": 400,
        "index_bytes": 250_000,
        "found": 0.8125,
        "chance": 0.02,
        "log_mel": 0.3,
        "by_width": {"32": 0.7, "256": 0.8125},
        "examples": [{"word": "owl", "speaker": "s1", "hits": [["owl", "s5", 0.93]]}],
    },
    "quality": {
        "log-mel": {"phones": 0.5, "words": 0.125},
        "teacher": {"phones": 0.5, "words": 0.5},
        "student": {"phones": 0.5, "words": 0.75},
        "pruned": {"phones": 0.25, "words": 0.375},
    },
    "speed": {
        "models": {
            "log-mel": {"milliseconds": 5.0, "times_teacher": 20.0},
            "teacher": {"milliseconds": 100.0, "times_teacher": 1.0},
            "student": {"milliseconds": 25.0, "times_teacher": 4.0},
            "pruned": {"milliseconds": 12.5, "times_teacher": 8.0},
        },
        "machine": {
            "processor": "abacus",
            "cores": 2,
            "system": "Linux",
            "python": "3.11",
            "packages": {"torch": "2"},
            "git": "abc",
        },
    },
}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A demo that is done, by its record and logs alone."""
    record = Record(tmp_path / "demo", Settings())
    for name, result in RESULTS.items():
        record.do(name, lambda result=result: result)
    logs = {
        "teacher": {"step": 1, "loss": 3.5, "target_perplexity": [17.0, 14.0]},
        "tiny": {"step": 1, "loss": 65.0, "parts": {"stella": 22.0}},
        "tiny-pruned/round-1": {"step": 1, "loss": 9.0},
        "tiny-pruned/round-2": {"step": 1, "loss": 8.0},
    }
    for run, line in logs.items():
        (tmp_path / "demo" / run).mkdir(parents=True)
        (tmp_path / "demo" / run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "demo"


def test_a_finished_demo_prints_its_table_and_what_to_try_next(kit: Kit, finished: Path) -> None:
    code, out, err = kit("demo", "--out", finished)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:3] == ["model", "parameters", "MB"]
    assert lines[1] == ["log-mel,", "80", "bands", "-", "-", "5.0", "50.0%", "12.5%", "100%", "25%"]
    assert lines[3] == [
        *("student,", "tiny", "5.00", "M", "20.00", "25.0", "50.0%", "75.0%"),
        *("100%", "150%"),
    ]
    assert lines[4][-5:] == ["12.5", "25.0%", "37.5%", "50%", "75%"]
    assert len({len(line) for line in out.splitlines()}) == 1  # columns are aligned
    assert "int8: refused by the gate" in err
    assert "cosine 0.9800, below 0.99" in err
    assert "81.2%" in err
    assert f"kit search {finished / 'words.index'}" in err
    assert f"kit embed FOLDER --model {finished / 'tiny-pruned'}" in err


def test_the_report_shows_the_same(kit: Kit, finished: Path) -> None:
    kit("demo", "--out", finished)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "refused: cosine 0.9800, below 0.99" in page
    assert "abacus, 2 cores" in page


def test_json_is_the_data(kit: Kit, finished: Path) -> None:
    code, out, _ = kit("demo", "--out", finished, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["megabytes"] for row in rows] == [0, 7.2, 20, 12]
    assert rows[3]["kept_words"] == 0.75
    assert rows[2]["times_teacher"] == 4


def test_a_damaged_record_is_one_sentence(kit: Kit, finished: Path) -> None:
    (finished / "demo.json").write_text("{")
    code, out, err = kit("demo", "--out", finished)
    assert (code, out) == (4, "")
    assert len(err.splitlines()) == 1
    assert "--fresh" in err
