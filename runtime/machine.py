"""On what a number was measured."""

import platform
from pathlib import Path

from earkit.runtime.instruction_sets import instruction_sets
from earkit.runtime.threads import usable_threads


def machine() -> str:
    """Processor, the instruction sets that count here, and usable threads."""
    sets = ", ".join(vector_sets()) or "no vector sets known"
    return f"{processor()} ({sets}), {usable_threads()} CPUs usable"


def vector_sets() -> list[str]:
    """Name the instruction sets that count and that this machine has."""
    return [name for name, there in (instruction_sets() or {}).items() if there]


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return named[0] if named else platform.processor() or platform.machine()
