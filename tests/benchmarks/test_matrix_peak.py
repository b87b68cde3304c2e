"""The peak counts the multiply-adds of what it timed."""

import itertools

import pytest
import torch

from earkit.benchmarks import matrix_peak as module


def test_the_best_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIDE", 20)
    clock = itertools.count(step=0.5)
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    before = torch.get_num_threads()
    assert module.matrix_peak(1) == 20**3 / 0.5
    assert torch.get_num_threads() == before
