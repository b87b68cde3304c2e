"""The line that says on what a number was measured."""

import pytest

from earkit.runtime import machine as module
from earkit.runtime.machine import machine


def test_it_names_the_sets_that_are_there_and_the_usable_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processor", lambda: "Abacus 9")
    monkeypatch.setattr(module, "usable_threads", lambda: 3)
    monkeypatch.setattr(module, "instruction_sets", lambda: {"avx2": True, "avx_vnni": False, "sve": True})
    assert machine() == "Abacus 9 (avx2, sve), 3 CPUs usable"
    monkeypatch.setattr(module, "instruction_sets", lambda: None)
    assert machine() == "Abacus 9 (no vector sets known), 3 CPUs usable"


def test_theprocessor_has_a_name() -> None:
    assert module.processor().strip()
