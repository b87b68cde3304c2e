import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from earkit.distill.checkpoint import Checkpoint, load, optimizer_tensors, restore_optimizer, save, saved
from earkit.runtime.errors import CheckpointError, StorageError


def checkpoint(value: float, size: int = 10) -> Checkpoint:
    return Checkpoint({"w": torch.full((size,), value)}, {"w/step": torch.tensor(1.0)}, {"step": int(value)})


def test_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        save(tmp_path, step, checkpoint(step), keep=2)
    assert [p.name for p in saved(tmp_path)] == ["step-00000002", "step-00000030"]
    loaded = load(saved(tmp_path)[-1])
    assert torch.equal(loaded.model["w"], torch.full((10,), 30.0))
    assert loaded.state == {"step": 30}


def test_half_written_folders_do_not_count(tmp_path: Path) -> None:
    save(tmp_path, 1, checkpoint(1), keep=2)
    (tmp_path / ".step-00000002.part").mkdir()
    (tmp_path / "step-00000003").mkdir()
    assert [p.name for p in saved(tmp_path)] == ["step-00000001"]


def test_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    path = save(tmp_path, 1, checkpoint(1), keep=1)
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:20])
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a small tmpfs needs root; the simulated full disk is tested beside it")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_loses_nothing(tiny_disk: Path) -> None:
    save(tiny_disk, 1, checkpoint(1, 20_000), keep=1)  # 80 KB
    with pytest.raises(StorageError, match="earlier checkpoints are intact"):
        save(tiny_disk, 2, checkpoint(2, 100_000), keep=1)
    assert torch.equal(load(saved(tiny_disk)[-1]).model["w"], torch.full((20_000,), 1.0))
    save(tiny_disk, 3, checkpoint(3, 20_000), keep=1)  # and there is room to go on


def test_simulated_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, checkpoint(1), keep=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("earkit.distill.checkpoint._sync", full)
    with pytest.raises(StorageError, match="No space left"):
        save(tmp_path, 2, checkpoint(2), keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_optimizer_round_trip_continues_identically() -> None:
    def setup() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    def step(model: torch.nn.Linear, optimizer: torch.optim.AdamW) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = setup()
    step(model, optimizer)
    names = {id(p): n for n, p in model.named_parameters()}
    flat = {k: v.clone() for k, v in optimizer_tensors(optimizer, names).items()}
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    step(model, optimizer)
    other, other_optimizer = setup()
    other.load_state_dict(weights)
    restore_optimizer(other_optimizer, flat, other.named_parameters())
    step(other, other_optimizer)
    assert torch.equal(model.weight, other.weight)
    with pytest.raises(CheckpointError, match="lacks"):
        restore_optimizer(other_optimizer, {"ghost/step": torch.tensor(1.0)}, other.named_parameters())
