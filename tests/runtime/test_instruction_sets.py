"""Instruction sets, read from what Linux writes about real processors."""

import platform
import sys
from pathlib import Path

import pytest

from earkit.runtime.instruction_sets import instruction_sets

# Shortened lines of /proc/cpuinfo.
CASCADE_LAKE = "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n\n" * 2
HASWELL = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma\nbugs\t\t: avx512f_like\n"
PI_5 = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n\n" * 4
UNEQUAL_CORES = (
    "processor\t: 0\nFeatures\t: asimd asimddp i8mm\n\nprocessor\t: 1\nFeatures\t: asimd asimddp\n"
)


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "there"),
    [
        ("x86_64", CASCADE_LAKE, {"avx2", "avx512f", "avx512_vnni"}),
        ("x86_64", HASWELL, {"avx2"}),
        ("aarch64", PI_5, {"neon", "dotprod"}),
        ("aarch64", UNEQUAL_CORES, {"neon", "dotprod"}),
        ("x86_64", "", set()),
    ],
)
def test_linux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str, there: set[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    found = instruction_sets(tmp_path / "cpuinfo")
    assert found is not None
    assert {name for name, present in found.items() if present} == there


def test_sets_of_the_other_architecture_are_not_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "cpuinfo").write_text("")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert set(instruction_sets(tmp_path / "cpuinfo") or {}) == {"neon", "dotprod", "i8mm", "sve"}
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    assert "neon" not in (instruction_sets(tmp_path / "cpuinfo") or {})


def test_none_where_nothing_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert instruction_sets(tmp_path / "no such file") is None
