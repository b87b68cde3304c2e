"""Tables of stored results, cell by cell."""

import dataclasses
import json
from pathlib import Path

import pytest

from earkit.benchmarks import results
from earkit.benchmarks.cost import Cost
from earkit.benchmarks.evaluation import Cell
from earkit.benchmarks.peers_tables import (
    SHORT,
    adaptive_embeddings,
    peers_cost,
    peers_quality,
    peers_short,
    sanity_figures,
)
from earkit.benchmarks.tasks.task import Score


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    return [[part.strip() for part in line.strip("|").split("|")] for line in lines]


def test_quality() -> None:
    word = Score("word_abx", "error across speakers, en", 0.125, (0.1, 0.2), "speakers")
    rank = Score("label_free", "effective rank of clips", 7.25, None)
    cells = [
        Cell("ours", "w", "word_abx", "c", 0, 1.0, (word,)),
        Cell("ecapa", "w", "word_abx", "c", 0, 1.0, ()),
        Cell("mfcc", "", "word_abx", "c", 0, 1.0, (word,)),
        Cell("mfcc", "", "label_free", "c", 0, 1.0, (rank,)),
    ]
    results.store("peers_quality", "python -m x", [dataclasses.asdict(cell) for cell in cells], seed=0)
    text = peers_quality()
    heads, _, mfcc, ecapa, ours = rows_of(text)
    assert heads == ["", "word_abx: error across speakers, en", "label_free: effective rank of clips"]
    assert mfcc == ["mfcc", "12.5 (10.0\u201320.0)", "7.2"]
    assert ecapa == ["ecapa", "\u2013", "not yet"]
    assert ours[0] == "ours"
    assert "lower is better in word abx" in text
    assert "but label free" in text
    assert "again with `python -m x`" in text


def test_short() -> None:
    words = Score("word_retrieval", "1-NN, en", 0.126, (0.1, 0.2), "speakers")
    cells = [
        Cell(name, "", task, "c", 0, 1.0, (words,) if task == "word_retrieval" else ())
        for name in ("tiny", "mfcc", "ecapa")
        for task in SHORT
    ]
    cells += [Cell("moonshine", "", "digits", "c", 0, 1.0, ())]
    times = {"10 s, 1 thread": 0.02}
    costs = [
        Cost("ecapa", "ONNX peer", 1, 80.0, {}, {"10 s, 1 thread": 2.5}, times, 0.1, 1.0),
        Cost("mfcc", "floor", 0, 0.0, {}, times, times, 0.1, 1.0),
        Cost("moonshine", "ONNX peer", 1, 80.0, {}, times, times, 0.1, 1.0),
        Cost("tiny", "model file", 1, 3.1, {}, times, times, 0.1, 1.0),
    ]
    results.store("peers_quality", "python -m x", [dataclasses.asdict(cell) for cell in cells])
    results.store("peers_cost", "python -m y", [dataclasses.asdict(cost) for cost in costs])
    heads, _, tiny, ecapa = rows_of(text := peers_short())
    assert heads[:5] == ["", "MB", "10 s take", "times as long", "words"]
    assert tiny == ["`tiny`", "3.1", "20 ms", "1", "13", *"\u2013\u2013\u2013"]
    assert ecapa[:5] == ["`ecapa`", "80.0", "2500 ms", "125", "13"]
    assert "again with `python -m y`" in text


def test_cost() -> None:
    kinds = {"1 s, 1 thread": 0.5, "10 s, 1 thread": 1.0}
    costs = [
        Cost("speech_embedding", "ONNX peer", 330_000, 2.4, {"10": 5_500_000_000}, kinds, kinds, 0.25, 80.4),
        Cost("mfcc", "floor", 0, 0.0, {}, kinds, {"10 s, 1 thread": 12.3}, 0.1, 40.0),
    ]
    plan = {"lengths": [1, 10, 60], "threads": [1, 2]}
    results.store("peers_cost", "python -m x", [dataclasses.asdict(cost) for cost in costs], plan=plan)
    heads, _, first, floor = rows_of(peers_cost())
    assert heads[4:6] == ["real-time factor, 1 s, 1 thread", "real-time factor, 10 s, 1 thread"]
    assert first == ["speech_embedding", "0.33 M", "2.4", "5.50 G", "0.5", "0.1", "1", "0.25 s", "80 MB"]
    assert floor == ["mfcc", "\u2013", "\u2013", "\u2013", "0.5", "0.1", "12.3", "0.10 s", "40 MB"]


def test_sanity(folder: Path) -> None:
    row = {
        "peer": "ecapa",
        "corpus": "speakerbox",
        "expected": 1.0,
        "all segments": 0.9726,
        "of 1.5 s or more": 1.0,
    }
    results.store("sanity_figures", "python -m x", [row])
    assert json.loads((folder / "sanity_figures.json").read_text())["rows"] == [row]
    assert rows_of(sanity_figures())[2] == [
        "`ecapa`",
        "speakerbox",
        "100",
        "97.3 all segments, 100.0 of 1.5 s or more",
    ]


def test_adaptive_embeddings() -> None:
    scores = {"1-NN, as is, de": 0.5, "1-NN, as is, en": 0.25, "1-NN, de": 0.9, "accuracy": 0.125}
    size = {"name": "prefix", "storage": "int8", "size": 32, "bytes": 32, "times_smaller": 31.6}
    row = size | scores | {"query_ms": 1.5, "times_faster": 3.04}
    results.store("adaptive_embeddings", "python -m x", [row], model="owl", vectors=1000)
    text = adaptive_embeddings()
    assert rows_of(text)[2] == [
        "prefix, 32 x int8", "32", "32x", "50.0", "25.0", "12.5", "1.50 ms", "3.0x"
    ]  # fmt: skip
    assert "`owl`" in text
    assert "1000 vectors" in text
