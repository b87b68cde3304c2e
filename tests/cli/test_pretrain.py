"""`kit pretrain` as a person runs it: good folders, bad folders, resumes, refusals."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earkit.cli.main import app
from earkit.distill.checkpoint import load, saved
from earkit.runtime.errors import ConfigError, DataError, StorageError

CONFIG = """
steps = 6
save_every = 2
log_every = 1
[model]
depth = 1
dim = 32
heads = 2
conv_dim = 16
codebook_size = 8
[data]
max_seconds = 0.5
min_seconds = 0.3
batch_seconds = 1.5
workers = 0
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        soundfile.write(folder / f"good{i}.flac", 0.1 * rng.standard_normal(10_000), 16_000)
    return folder


def kit(*arguments: object) -> str:
    """Run the command in this process; deliberate errors come out as they are."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)
    return result.stdout


def spoil(folder: Path) -> dict[str, str]:
    """Put every kind of bad file into a folder: name -> what the reason must say."""
    rng = np.random.default_rng(1)
    noise = 0.1 * rng.standard_normal(16_000)
    soundfile.write(folder / "whole.flac", noise, 16_000)
    flac = (folder / "whole.flac").read_bytes()
    (folder / "truncated.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "text.wav").write_text("This is not audio at all.\n" * 50)
    (folder / "zero.wav").write_bytes(b"")
    soundfile.write(folder / "no_samples.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "short.wav", noise[:200], 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    broken = noise.copy()
    broken[::7] = np.nan
    soundfile.write(folder / "nan.wav", broken, 16_000, subtype="FLOAT")
    soundfile.write(folder / "phone.wav", rng.standard_normal((8_000, 2)) * 0.1, 8_000)
    return {
        "truncated.flac": "",
        "text.wav": "",
        "zero.wav": "empty",
        "no_samples.wav": "",
        "short.wav": "short",
        "silent.wav": "silent",
        "nan.wav": "NaN",
    }


def test_bad_files_are_counted_listed_and_never_end_a_run(config: Path, corpus: Path, tmp_path: Path) -> None:
    bad = spoil(corpus)
    out = tmp_path / "run"
    kit("pretrain", "--config", config, "--data", corpus, "--out", out, "--steps", 30)
    assert (out / "teacher" / "model.safetensors").is_file()
    listed = {
        Path(row["name"]).name: row["reason"]
        for row in map(json.loads, (out / "skipped.jsonl").read_text().splitlines())
    }
    assert listed.keys() == bad.keys()  # and so neither the good ones nor the 8 kHz stereo file
    for name, word in bad.items():
        assert word.lower() in listed[name].lower()
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert (last["step"], last["skipped"]) == (30, len(bad))


def test_a_vanished_file_is_skipped(config: Path, corpus: Path, tmp_path: Path) -> None:
    manifest = corpus / "list.csv"
    manifest.write_text("path\n" + "".join(f"good{i}.flac\n" for i in range(5)) + "gone.flac\n")
    kit("pretrain", "--config", config, "--data", manifest, "--out", tmp_path / "run")
    assert "gone.flac" in (tmp_path / "run" / "skipped.jsonl").read_text()


@pytest.mark.parametrize("kind", ["missing", "empty folder", "empty manifest", "only bad files"])
def test_nothing_usable_is_an_error_and_starts_no_run(kind: str, config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    if kind != "missing":
        data.mkdir()
    if kind == "empty manifest":
        data = data / "m.csv"
        data.write_text("path,text\n")
    if kind == "only bad files":
        (data / "text.wav").write_text("hello")
    with pytest.raises(DataError) as caught:
        kit("pretrain", "--config", config, "--data", data, "--out", tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert str(data) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_same_command_extends_and_other_commands_are_refused(
    config: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["pretrain", "--config", config, "--data", corpus, "--out", out]
    kit(*command)
    kit(*command, "--steps", 9)
    assert [p.name for p in saved(out / "checkpoints")][-1] == "step-00000009"
    with pytest.raises(ConfigError, match="begun with another model"):
        kit(*command, "--set", "model.dim=64")
    with pytest.raises(ConfigError, match="begun with other data"):
        kit("pretrain", "--config", config, "--data", corpus / "good0.flac", "--out", out)


def test_fresh_sets_the_old_run_aside(config: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["pretrain", "--config", config, "--data", corpus, "--out", out, "--fresh"]
    kit(*command)
    kit(*command, "--seed", 1)
    assert saved(tmp_path / "run.1" / "checkpoints")
    first, second = ((p / "config.toml").read_text() for p in (tmp_path / "run.1", out))
    assert "seed = 0" in first
    assert "seed = 1" in second


def test_dry_run_trains_nothing(config: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    answer = kit("pretrain", "--config", config, "--data", corpus, "--out", out, "--dry-run", "--json")
    plan = json.loads(answer)
    assert not out.exists()
    assert plan["steps"] == 6
    assert plan["fits"] is True
    assert plan["parameters"] > 10_000
    # Doubling the width makes the network dearer; the estimate must see it.
    wider = json.loads(kit("pretrain", "--config", config, "--dry-run", "--json", "--set", "model.dim=64"))
    assert wider["multiply_adds_per_second"] > plan["multiply_adds_per_second"]
    assert wider["state_bytes"] > plan["state_bytes"]
    assert "multiply-adds" in kit("pretrain", "--config", config, "--dry-run")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip(
            "mounting a small tmpfs needs root; tests/distill/test_checkpoint.py simulates a full disk"
        )
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_was_saved(
    config: Path, corpus: Path, small_disk: Path
) -> None:
    out = small_disk / "run"
    command = ["pretrain", "--config", config, "--data", corpus, "--out", out, "--set", "keep=100"]
    with pytest.raises(StorageError, match="No space left"):
        kit(*command, "--steps", 100)
    before = saved(out / "checkpoints")
    assert before
    for path in before:
        assert load(path).state["step"] == int(path.name.removeprefix("step-"))
