"""Atomic checkpoints: one folder per step holding safetensors and JSON, never pickle.

A folder is written under a temporary name and renamed when complete, so that whatever carries the name
`step-…` is whole; a kill or a full disk while saving leaves the ones before untouched.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earkit.runtime.errors import CheckpointError, StorageError

PARTS = ("model", "optimizer")


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: `model` and `optimizer` tensors by name, and `state`, plain JSON."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Save under folder/step-…, then remove all but the newest `keep`."""
    final = folder / f"step-{step:08d}"
    if final in saved(folder):  # resuming makes the same step again, to the bit
        return final
    part = folder / f".{final.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for name in PARTS:
            tensors = {k: v.detach().contiguous() for k, v in getattr(checkpoint, name).items()}
            save_file(tensors, part / f"{name}.safetensors")
        (part / "state.json").write_text(json.dumps(checkpoint.state, indent=1), encoding="utf-8")
        for file in part.iterdir():
            _sync(file)
        part.rename(final)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(
            f"could not save step {step} in {folder}: {error}; "
            "earlier checkpoints are intact, free some space"
        ) from error
    for old in saved(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def saved(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").is_file())


def load(path: Path) -> Checkpoint:
    """Read one checkpoint folder."""
    try:
        model, optimizer = (load_file(path / f"{name}.safetensors") for name in PARTS)
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged ({error}); delete that folder to resume from the one before"
        ) from error
    return Checkpoint(model, optimizer, state)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """Flatten an optimizer's state to `<parameter name>/<key>`; names: by id of the parameter."""
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    parameters: Iterable[tuple[str, nn.Parameter]],
) -> None:
    """Undo `optimizer_tensors`."""
    by_name = dict(parameters)
    for flat, value in tensors.items():
        name, key = flat.rsplit("/", 1)
        if name not in by_name:
            raise CheckpointError(f"checkpoint has optimizer state for {name}, which this model lacks")
        # Adam's step counter stays on the CPU, the rest lives beside its parameter.
        device = "cpu" if key == "step" else by_name[name].device
        optimizer.state[by_name[name]][key] = value.to(device)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
