"""The training loop: that it learns, that it resumes bit for bit, and how it ends when it must."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from earkit.distill import training
from earkit.distill.checkpoint import saved
from earkit.distill.data.corpus import open_corpus
from earkit.distill.pretrain import PretrainConfig, StepReport, load_config, named_configs, pretrain
from earkit.runtime.errors import ConfigError, NonFiniteLossError

TINY = """
steps = 40
save_every = 4
log_every = 1
[model]
depth = 2
dim = 32
heads = 2
ffn_dim = 64
conv_dim = 16
codebooks = 1
codebook_size = 16
ema_start = 0.9
ema_end = 0.99
ema_anneal_steps = 10
[data]
max_seconds = 0.6
min_seconds = 0.3
batch_seconds = 2.0
workers = 1
[optim]
lr = 2e-3
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen clips of two alternating tones with noise."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for i in range(18):
        t = np.arange(int(16000 * rng.uniform(0.5, 1.2))) / 16000
        pitch = np.where((t * 8).astype(int) % 2, 300 + 40 * i, 900)
        clip = 0.3 * np.sin(2 * np.pi * pitch * t) + 0.05 * rng.standard_normal(len(t))
        soundfile.write(folder / f"{i:02}.flac", clip, 16000)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path / "tiny.toml"


def run(config: Path, corpus: Path, out: Path, *sets: str) -> list[StepReport]:
    reports: list[StepReport] = []
    settings = load_config(str(config), sets)
    pretrain(settings, open_corpus(corpus), out, report=reports.append, say=lambda _: None)
    return reports


def test_shipped_configurations() -> None:
    assert named_configs() == ["dinosr_base", "dinosr_nano", "dinosr_small"]
    base = load_config("dinosr_base")
    assert (base.steps, base.optim.lr, base.data.batch_seconds) == (400_000, 5e-4, 237.5)
    assert (base.model.dim, base.model.freeze_step, base.model.ema_anneal_steps) == (768, 200_001, 30_000)
    assert load_config("dinosr_nano", ["model.depth=6"]).model.dim == 384
    with pytest.raises(ConfigError, match="give a TOML file or one of"):
        load_config("dinosr_huge")


def test_learns_and_leaves_a_run_folder(config: Path, corpus: Path, tmp_path: Path) -> None:
    reports = run(config, corpus, tmp_path / "run", "optim.accumulate=2")
    assert [r.step for r in reports] == list(range(1, 41))
    assert reports[-1].loss < 0.8 * reports[0].loss
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names >= {"config.toml", "metrics.jsonl", "checkpoints", "teacher"}
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == list(range(1, 41))
    assert {"loss", "target_perplexity", "active_codes", "rankme", "audio_per_second", "eta"} <= set(lines[0])


def test_accumulated_batches_weigh_every_masked_frame_alike(
    config: Path, corpus: Path, tmp_path: Path
) -> None:
    """The reported loss is loss_sum over all masked frames of the step, so near log(16) at the start."""
    first = run(config, corpus, tmp_path / "run", "optim.accumulate=3", "steps=1")[0]
    assert first.loss == pytest.approx(np.log(16), rel=0.25)


def test_non_finite_loss_names_step_and_files(config: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"at step \d+.*\.flac"):
        run(config, corpus, tmp_path / "run", "optim.lr=1e30", "optim.clip_norm=0", "optim.warmup=0")


def test_hours_end_a_run_and_pace_the_learning_rate(
    config: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which a step takes a second, as this machine may stand still for longer."""
    clock = SimpleNamespace(perf_counter=count().__next__)
    monkeypatch.setattr(training, "time", clock)
    reports = run(config, corpus, tmp_path / "run", f"hours={30 / 3600}", "data.workers=0")
    assert reports[-1].elapsed == reports[-1].step == 30
    peak = load_config(str(config)).optim.lr
    assert max(r.lr for r in reports) == pytest.approx(peak)
    assert reports[-1].lr < 0.1 * peak


def command(config: Path, corpus: Path, out: Path, *extra: str) -> list[str]:
    return ["pretrain", "--config", str(config), "--data", str(corpus), "--out", str(out), *extra]


def launch(arguments: list[str], *, processes: int = 1) -> subprocess.Popen[str]:
    module = ["-m", "earkit.cli", *arguments]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        module = [*torchrun, *module]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *module], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, talk = process.communicate(timeout=180)
    assert process.returncode == 0, talk
    return talk


def kill_at(process: subprocess.Popen[str], out: Path, step: int, number: signal.Signals) -> None:
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= step:
            break
        time.sleep(0.005)
    # Ranks have sessions of their own, out of reach of the launcher's group.
    for victim in [*psutil.Process(process.pid).children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(number)
    process.communicate()


def final_weights(out: Path) -> dict[str, torch.Tensor]:
    newest = saved(out / "checkpoints")[-1]
    assert newest.name == "step-00000040"
    return load_file(newest / "model.safetensors") | {
        f"optimizer.{k}": v for k, v in load_file(newest / "optimizer.safetensors").items()
    }


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(
    config: Path, corpus: Path, tmp_path: Path
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    first = launch(command(config, corpus, straight))
    finish(first)
    step = random.randint(5, 36)  # any step will do; a failure prints it
    killed = launch(command(config, corpus, broken))
    kill_at(killed, broken, step, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, f"was to be killed at step {step}"
    assert "resuming from" in finish(launch(command(config, corpus, broken)))
    expected, found = final_weights(straight), final_weights(broken)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), f"{name} differs after a kill at step {step}"
    steps = [json.loads(x)["step"] for x in (broken / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 41))


def test_two_processes_killed_and_resumed(config: Path, corpus: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert "2 processes" in finish(launch(command(config, corpus, straight), processes=2))
    step = random.randint(5, 36)  # any step will do; a failure prints it
    kill_at(launch(command(config, corpus, broken), processes=2), broken, step, signal.SIGKILL)
    assert "resuming from" in finish(launch(command(config, corpus, broken), processes=2))
    found = final_weights(broken)
    for name, value in final_weights(straight).items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0, msg=f"{name}, killed at {step}")


def test_interrupt_saves_the_step_it_is_in(config: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = launch(command(config, corpus, out, "--set", "save_every=1000"))
    metrics = out / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) >= 3):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "stopped at step" in talk
    assert len(saved(out / "checkpoints")) == 1


def test_configuration_is_written_whole(config: Path, corpus: Path, tmp_path: Path) -> None:
    run(config, corpus, tmp_path / "run", "steps=1")
    assert load_config(str(tmp_path / "run" / "config.toml")) == load_config(str(config), ["steps=1"])
    assert isinstance(load_config(str(config)), PretrainConfig)
