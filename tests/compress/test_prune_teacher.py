"""Pruning a teacher: the folder stays one that transformers loads, and it recovers towards what it was."""

import copy
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import Data2VecAudioModel

from earkit.compress.prune_config import Target
from earkit.compress.prune_report import Pruned
from earkit.compress.prune_teacher import (
    PruneTeacherConfig,
    Recovery,
    dinosr_teacher,
    prune_teacher,
    prune_teacher_config,
)
from earkit.compress.prune_teacher_shape import smaller, teacher_cost
from earkit.distill.dinosr import DinoSR, DinoSRConfig, load_teacher, save_teacher, standardise
from earkit.distill.dry_run import _multiply_adds
from earkit.distill.run_folder import open_run
from earkit.distill.teachers.resolve import load_teacher_by_name
from earkit.runtime.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = DinoSRConfig(
    depth=4,
    dim=32,
    heads=2,
    ffn_dim=64,
    conv_dim=16,
    codebooks=2,
    codebook_size=8,
    pos_groups=2,
    dropout=0.0,
    attention_dropout=0.0,
    layer_drop=0.0,
)
LAYER = "encoder.layers."


def quiet(_: object) -> None:
    pass


def teacher(shape: DinoSRConfig = SHAPE) -> DinoSR:
    torch.manual_seed(0)
    return DinoSR(shape).eval()


def parameters(shape: DinoSRConfig) -> int:
    return teacher_cost(shape).parameters


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a teacher with random weights, and a corpus."""
    place = tmp_path_factory.mktemp("place")
    (place / "corpus").mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,speaker"]
    for i in range(12):
        soundfile.write(place / "corpus" / f"{i}.flac", 0.1 * rng.standard_normal(9_600 + 300 * i), 16_000)
        rows.append(f"{i}.flac,{i % 4}")
    (place / "corpus" / "manifest.csv").write_text("\n".join(rows) + "\n")
    save_teacher(teacher(), place / "run" / "teacher")
    return place


def configure(place: Path, **more: object) -> PruneTeacherConfig:
    crops = ["data.max_seconds=0.6", "data.min_seconds=0.3", "data.batch_seconds=2.0", "data.workers=0"]
    given = {"target": Target(params=0.75), "rounds": 2, "steps": 6}
    often = ["save_every=1", "log_every=1", "calibration_batches=2"]
    return prune_teacher_config(place / "run" / "teacher", overrides=(*crops, *often), **{**given, **more})


def run(config: PruneTeacherConfig, place: Path, out: Path, report: object = quiet) -> Pruned:
    corpus = open_run(out, config, place / "corpus", fresh=False, say=quiet)
    return prune_teacher(config, corpus, out, report=report, say=quiet)


@pytest.fixture(scope="module")
def pruned(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pruned]:
    out = tmp_path_factory.mktemp("runs") / "owl"
    return out, run(configure(place), place, out)


@pytest.mark.parametrize("front_end", ["paper", "filterbank"])
def test_counts_are_those_of_the_network(front_end: str) -> None:
    shape = DinoSRConfig(
        depth=3,
        dim=32,
        heads=2,
        ffn_dim=48,
        codebooks=2,
        pos_groups=2,
        front_end=front_end,
        conv_dim=160 if front_end == "filterbank" else 16,
    )
    model = teacher(shape)
    counted = teacher_cost(shape, 16_000)
    assert counted.parameters == sum(p.numel() for p in model.student.parameters())
    assert counted.multiply_adds == _multiply_adds(model, torch.randn(1, 16_000))


def test_channels_that_go_are_those_that_were_silenced() -> None:
    model = teacher()
    scores = {name: torch.rand_like(p) for name, p in model.student.named_parameters()}
    for name in scores:
        scores[name] += 0 if "feed_forward" in name else 1e3  # no layer goes
    budget = parameters(SHAPE) - 4 * 17 * 65  # a step of 16 is not enough
    made, layers = smaller(model, scores, parameters, budget)
    assert (made.config.ffn_dim, layers) == (32, (0, 1, 2, 3))
    silenced = copy.deepcopy(model.student)
    for k in range(4):
        feed = f"{LAYER}{k}.feed_forward."
        total = scores[f"{feed}intermediate_dense.weight"].sum(1) + scores[f"{feed}intermediate_dense.bias"]
        total = total + scores[f"{feed}output_dense.weight"].sum(0)
        with torch.no_grad():
            silenced.encoder.layers[k].feed_forward.output_dense.weight[:, total.argsort()[:32]] = 0
    audio = standardise(torch.randn(2, 8_000))
    with torch.no_grad():
        assert torch.allclose(made.student(audio)[0], silenced(audio)[0], atol=1e-5)
        assert not torch.allclose(made.student(audio)[0], model.student(audio)[0], atol=1e-3)


def test_layers_go_but_those_that_are_clustered() -> None:
    model = teacher()
    scores = {name: torch.rand_like(p) for name, p in model.student.named_parameters()}
    for name in scores:
        scores[name] *= 1e-6 if name.startswith((f"{LAYER}1.", f"{LAYER}2.", f"{LAYER}3.")) else 1
    made, layers = smaller(model, scores, parameters, parameters(SHAPE) - 8_600)
    assert layers == (0, 2, 3)
    ours, theirs = made.student.encoder.layers[1].state_dict(), model.student.encoder.layers[2].state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if "feed_forward" not in name)
    with pytest.raises(ConfigError, match="pruned as far as it goes, this teacher still costs"):
        smaller(model, scores, parameters, 100)


def test_a_whole_teacher_has_nothing_to_recover() -> None:
    model = teacher()
    recovery = Recovery(copy.deepcopy(model), model, (0, 1, 2, 3)).eval()
    audio = standardise(torch.randn(2, 8_000))
    assert float(recovery(audio, recovery.to_learn(audio)).loss_sum.detach()) == pytest.approx(0, abs=1e-3)


def test_the_folder_loads_everywhere(place: Path, pruned: tuple[Path, Pruned]) -> None:
    out, made = pruned
    assert made.folder == out / "teacher"
    model, before = load_teacher(out / "teacher"), load_teacher(place / "run" / "teacher")
    left = sum(p.numel() for p in model.student.parameters())
    assert left <= 0.75 * sum(p.numel() for p in before.student.parameters())
    plain, told = Data2VecAudioModel.from_pretrained(out / "teacher", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    audio = standardise(torch.randn(1, 8_000))
    with torch.no_grad():
        assert torch.allclose(plain.eval()(audio)[0], model.student(audio)[0], atol=1e-5)
        again = model.targets(model.front_end(audio), torch.ones(1, 24, dtype=torch.bool))
    assert again.shape == (2, 24, 32)
    found, _ = load_teacher_by_name(out)
    assert found.info().parameters == left
    assert dinosr_teacher(out) == out / "teacher"


def test_figures_are_kept(pruned: tuple[Path, Pruned]) -> None:
    out, made = pruned
    assert [row.name for row in made.rows] == ["before", "round 1", "round 2"]
    assert made.rows[0].quality == {"clusters": 1.0}
    assert made.rows[0].parameters == parameters(SHAPE)
    assert all(row.milliseconds > 0 for row in made.rows)
    assert json.loads((out / "prune.json").read_text())["rows"][2]["parameters"] == made.rows[2].parameters


@pytest.mark.parametrize("killed_at", [2, 5])
def test_a_killed_run_goes_on_to_the_same_weights(
    killed_at: int, place: Path, pruned: tuple[Path, Pruned], tmp_path: Path
) -> None:
    steps: list[int] = []

    def report(progress: object) -> None:
        steps.append(progress.step)
        if len(steps) == killed_at:
            raise KeyboardInterrupt

    config = configure(place)
    with pytest.raises(KeyboardInterrupt):
        run(config, place, tmp_path / "owl", report)
    run(config, place, tmp_path / "owl")
    expected, found = (load_teacher(each / "teacher").state_dict() for each in (pruned[0], tmp_path / "owl"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("importance", ["magnitude", "random"])
def test_other_importance(importance: str, place: Path, tmp_path: Path) -> None:
    made = run(configure(place, importance=importance, rounds=1, steps=1), place, tmp_path / "owl")
    assert made.rows[-1].parameters <= 0.75 * made.rows[0].parameters


def test_it_recovers(place: Path, tmp_path: Path) -> None:
    run(configure(place, rounds=1, steps=30), place, tmp_path / "owl")
    lines = (tmp_path / "owl" / "round-1" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_what_is_not_for_teachers_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--speedup is for students"):
        configure(place, target=Target(speedup=1.5))
    with pytest.raises(ConfigError, match="--target-macs is a share"):
        configure(place, target=Target(macs=2.0))
    logging.getLogger("transformers").setLevel(logging.ERROR)
    teacher().student.save_pretrained(tmp_path / "plain")
    with pytest.raises(ConfigError, match="only a DinoSR one can be pruned"):
        dinosr_teacher(tmp_path / "plain")
