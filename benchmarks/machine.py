"""On what a number was measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from earkit.runtime.machine import processor, vector_sets

PACKAGES = ("earkit", "torch", "transformers", "accelerate", "numpy", "onnxruntime", "scikit-learn")


def machine() -> dict[str, Any]:
    """Processor and what it can do, cores, versions and git state, for the head of every result.

    Virtual machines of one processor differ in the instruction sets that they pass on, and so in speed.
    """
    return {
        "processor": processor(),
        "instruction_sets": vector_sets(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "git": _git(),
    }


def about() -> dict[str, str]:
    """Say it for the foot of a page."""
    here = machine()
    return {
        "machine": f"{here['cores']} cores of {here['processor']}, {here['system']}",
        "versions": ", ".join(f"{k} {v}" for k, v in {"python": here["python"], **here["packages"]}.items()),
        "git": here["git"],
    }


def _git() -> str:
    """Commit, and whether the tree differed from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
