"""What a process hears is what its user would compute."""

import json
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.hearing import hearer, noise, write_feeds
from earkit.benchmarks.log_mel import log_mel
from earkit.benchmarks.mfcc import mfcc
from earkit.benchmarks.node_profile import GraphRun
from earkit.benchmarks.representations import FLOORS, load
from earkit.runtime.embedder import Embedder


def test_floors() -> None:
    for name, make in {"log-mel": log_mel, "mfcc": mfcc}.items():
        np.testing.assert_array_equal(hearer("floor", name, 1)(2), make(noise(2)).mean(axis=0))
    for name in FLOORS:
        hearer("floor", name, 1)(1)


def test_a_model_file(clip_model: Path) -> None:
    made = hearer("file", str(clip_model), 1)(2)
    np.testing.assert_array_equal(made, Embedder.load(clip_model).embed(noise(2), 16_000))


def test_a_representation(clip_model: Path) -> None:
    assert load(str(clip_model)).vector is not None
    made = hearer("representation", str(clip_model), 1)(2)
    np.testing.assert_array_equal(made, Embedder.load(clip_model).embed(noise(2), 16_000))
    np.testing.assert_array_equal(hearer("representation", "mfcc", 1)(2), mfcc(noise(2)).mean(axis=0))


def test_graphs_are_fed_what_was_recorded(
    clip_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        GraphRun(clip_model, {"audio": noise(n)[None], "lengths": np.array([16_000 * n])}, ("embedding",))
        for n in (2, 3)
    ]
    write_feeds(tmp_path, 7, runs)
    assert len(json.loads((tmp_path / "7.json").read_text())) == 2
    fed = []

    class Session:
        def __init__(self, file: str, options: object) -> None:
            assert file == str(clip_model)

        def run(self, outputs: list[str], feeds: dict) -> None:
            fed.append((outputs, feeds))

    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    hear = hearer("graphs", str(tmp_path), 1)
    hear(7)
    assert [outputs for outputs, _ in fed] == [["embedding"]] * 2
    for (_, feeds), run in zip(fed, runs, strict=True):
        assert feeds.keys() == run.feeds.keys()
        for name, value in feeds.items():
            np.testing.assert_array_equal(value, run.feeds[name])
