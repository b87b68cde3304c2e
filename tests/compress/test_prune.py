"""Pruning runs: what they make, that they resume bit for bit, and from whom they recover."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from earkit.compress.prune import prune
from earkit.compress.prune_config import PruneConfig, Target, learned_from, prune_config
from earkit.compress.prune_cost import cost
from earkit.compress.prune_report import Pruned, table
from earkit.distill.checkpoint import load, saved
from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher
from earkit.distill.distillation import DistilConfig, distil, distil_config
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, load_student, save_student
from earkit.distill.run_folder import open_run
from earkit.runtime.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """
steps = 12
save_every = 1
log_every = 1
probe_every = 0
[student]
size = "custom"
dim = 32
depth = 2
embedding_dim = 16
[matryoshka]
dims = [8, 16]
[spans]
per_clip = 2
max_seconds = 0.4
[data]
max_seconds = 0.7
min_seconds = 0.3
batch_seconds = 2.0
workers = 0
[optim]
lr = 5e-3
[losses.tinybert]
weight = 1.0
attention = 0.0
embedding = 0.0
[losses.codes]
weight = 1.0
[losses.stella]
weight = 0.1
most_triples = 50
[losses.csr]
weight = 0.1
width = 64
k = 8
k_min = 4
k_max = 16
"""
ECHO = """
<ir_version: 8, opset_import: ["" : 17]>
echo (float[batch, samples] audio, int64[batch] lengths) => (float[batch, samples] embedding)
{ embedding = Identity(audio) }
"""


def to_graph(_: DistilledStudent) -> onnx.ModelProto:
    """Take for every student a graph that does nothing: what is timed is not at issue here."""
    return onnx.parser.parse_model(ECHO)


def quiet(_: object) -> None:
    pass


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a student of twelve steps, its corpus and teacher beside it."""
    place = tmp_path_factory.mktemp("taught")
    (place / "corpus").mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,speaker"]
    for i in range(12):
        t = np.arange(int(16_000 * rng.uniform(0.5, 0.9))) / 16_000
        clip = 0.3 * np.sin(2 * np.pi * (300 + 60 * i) * t) + 0.05 * rng.standard_normal(len(t))
        soundfile.write(place / "corpus" / f"{i:02}.flac", clip, 16_000)
        rows.append(f"{i:02}.flac,{i % 4}")
    (place / "corpus" / "manifest.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    small = DinoSRConfig(
        depth=2, dim=32, heads=2, ffn_dim=64, conv_dim=16, codebooks=2, codebook_size=8, pos_groups=2
    )
    save_teacher(DinoSR(small), place / "teacher")
    (place / "recipe.toml").write_text(RECIPE)
    config = distil_config(str(place / "recipe.toml"), teachers=[str(place / "teacher")])
    corpus = open_run(place / "run", config, place / "corpus", fresh=False, say=quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        distil(config, corpus, place / "run", report=quiet, say=quiet)
    return place


def configure(place: Path, **more: object) -> PruneConfig:
    given = {"target": Target(params=0.9), "rounds": 2, "steps": 6, "overrides": ["calibration_batches=2"]}
    return prune_config(place, **{**given, **more})


def run(
    config: PruneConfig,
    taught: Path,
    out: Path,
    *,
    say: Callable[[str], None] = quiet,
    report: object = quiet,
) -> Pruned:
    corpus = open_run(out, config, taught / "corpus", fresh=False, say=quiet)
    return prune(config, corpus, out, to_graph=to_graph, report=report, say=say)


@pytest.fixture(scope="module")
def pruned(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pruned, list[str]]:
    """The run of `configure`, never interrupted, its figures, and what it said."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("runs") / "owl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return out, run(configure(taught / "run"), taught, out, say=said.append), said


def test_the_result_is_a_student_within_the_budget(
    taught: Path, pruned: tuple[Path, Pruned, list[str]]
) -> None:
    out, made, _ = pruned
    before, provenance = load_student(taught / "run")
    after, of = load_student(out)
    assert cost(after.config).parameters <= 0.9 * cost(before.config).parameters
    halfway = cost(load_student(out / "round-1")[0].config).parameters
    assert cost(after.config).parameters < halfway <= 0.95 * cost(before.config).parameters
    assert after.outputs == before.outputs
    assert (of.name, of.steps, of.teachers) == ("owl", 18, provenance.teachers)
    assert made.folder == out / "student"
    recovered = load_student(out / "round-2")[0].state_dict()
    assert all(torch.equal(recovered[name], each) for name, each in after.state_dict().items())


def test_figures_of_before_and_after_are_kept(taught: Path, pruned: tuple[Path, Pruned, list[str]]) -> None:
    out, made, _ = pruned
    assert [row.name for row in made.rows] == ["before", "round 1", "round 2"]
    whole, left = cost(load_student(taught / "run")[0].config), cost(load_student(out)[0].config)
    for row, counted in ((made.rows[0], whole), (made.rows[-1], left)):
        assert (row.parameters, row.multiply_adds) == (counted.parameters, counted.multiply_adds)
        assert row.milliseconds > 0
        assert set(row.quality) == {"clusters", "unit_edit_distance"}
    kept = json.loads((out / "prune.json").read_text())["rows"]
    assert kept == json.loads(json.dumps([dataclasses.asdict(row) for row in made.rows]))
    assert f"({left.parameters / whole.parameters:.0%})" in table(made.rows).splitlines()[-1]
    assert load_student(out)[1].figures["retention of clusters"] == made.rows[-1].quality["clusters"]


def test_the_heads_of_the_loss_are_carried_along(
    taught: Path, pruned: tuple[Path, Pruned, list[str]]
) -> None:
    out, _, said = pruned
    assert not any("training the heads" in each for each in said)
    for before, after in ((taught / "run", out / "round-1"), (out / "round-1", out / "round-2")):
        state = load(saved(before / "checkpoints")[-1]).model
        heads = load_file(after / "heads.safetensors")
        assert set(heads) == {name for name in state if not name.startswith("student.")}
        assert all(torch.equal(state[name], each) for name, each in heads.items())


def test_recovery_begins_with_the_heads_and_the_weights_that_stay(taught: Path, tmp_path: Path) -> None:
    still = ["optim.lr=1e-12", "optim.weight_decay=0"]
    config = configure(taught / "run", rounds=1, steps=1, importance="magnitude", overrides=still)
    run(config, taught, tmp_path / "owl")
    before, after = (
        load(saved(each / "checkpoints")[-1]).model for each in (taught / "run", tmp_path / "owl/round-1")
    )
    learned = [name for name in after if name.startswith("frame_losses.")]
    assert any("tinybert.hidden" in name for name in learned)
    for name in (*learned, "student.stem.weight"):
        assert torch.allclose(after[name], before[name], atol=1e-6), name
    # The embedding was turned to its principal axes, and the loss's projection with it.
    made, projected = "student.pooling.project.weight", "embedding_losses.stella.projection.weight"
    wanted, found = (each[projected] @ each[made] for each in (before, after))
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("moment", ["within a round", "between rounds", "after scoring"])
def test_a_killed_run_goes_on_to_the_same_weights(
    moment: str, taught: Path, pruned: tuple[Path, Pruned, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "owl"
    steps: list[int] = []

    def report(progress: object) -> None:
        steps.append(progress.step)
        if moment == "within a round" and len(steps) == 5:
            raise KeyboardInterrupt

    def say(sentence: str) -> None:
        told = {"between rounds": ("scoring", 3), "after scoring": ("round 1", 0)}.get(moment)
        if told and sentence.startswith(told[0]) and len(steps) == told[1]:
            raise KeyboardInterrupt

    config = configure(taught / "run")
    with pytest.raises(KeyboardInterrupt):
        run(config, taught, out, report=report, say=say)
    assert not (out / "student").exists()
    with pytest.raises(ConfigError, match="was begun with another target"):
        run(configure(taught / "run", target=Target(params=0.8)), taught, out)
    run(config, taught, out)
    expected, found = (load_student(each)[0].state_dict() for each in (pruned[0], out))
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_pruned_student_is_pruned_again_without_its_run(
    taught: Path, pruned: tuple[Path, Pruned, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(pruned[0] / "student", tmp_path / "alone")
    said: list[str] = []
    config = configure(
        tmp_path / "alone",
        rounds=1,
        steps=1,
        teachers=[str(taught / "teacher")],
        importance="magnitude",
        overrides=["head_steps=2", "data.max_seconds=0.7", "data.batch_seconds=2.0", "data.workers=0"],
        say=said.append,
    )
    made = run(config, taught, tmp_path / "again", say=said.append)
    assert "training the heads of the loss for 2 steps, the student frozen" in said
    assert made.rows[1].parameters <= 0.9 * made.rows[0].parameters


def test_without_its_teacher_a_student_is_taught_by_what_it_was(taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught / "run", tmp_path / "run")
    text = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "run" / "config.toml").write_text(
        text.replace(str(taught / "teacher"), str(tmp_path / "gone"))
    )
    said: list[str] = []
    config = configure(
        tmp_path / "run", rounds=1, steps=1, importance="random", overrides=["head_steps=1"], say=said.append
    )
    assert [teacher.name for teacher in config.teachers] == [str(tmp_path / "run" / "student")]
    assert said == [
        f"no longer there, so left out: teacher {tmp_path / 'gone'}",
        "no teacher is left: what the student was before pruning teaches it",
    ]
    made = run(config, taught, tmp_path / "out")
    assert load_student(made.folder)[0].outputs.codebooks == 2
    assert made.rows[0].quality["clusters"] == pytest.approx(1.0, abs=0.02)  # it is its own teacher


def test_a_speedup_is_searched_once_and_kept(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def latency(protos: list[onnx.ModelProto], threads: int) -> list[tuple[float, float]]:
        assert threads == 1
        asked.append(len(protos))
        return [(10.0, 1.0), *[(8.0, 1.25)] * (len(protos) - 1)]

    monkeypatch.setattr("earkit.compress.prune.paired_latency", latency)
    config = configure(taught / "run", target=Target(speedup=1.2), importance="magnitude", steps=2)
    run(config, taught, tmp_path / "fast")
    share = json.loads((tmp_path / "fast" / "share.json").read_text())["multiply_adds"]
    assert asked == [2, 2, 2, 2, 2, 3]
    before, after = (cost(load_student(each)[0].config) for each in (taught / "run", tmp_path / "fast"))
    assert after.multiply_adds <= share * before.multiply_adds < before.multiply_adds
    monkeypatch.setattr(
        "earkit.compress.prune.paired_latency", lambda protos, threads: [(1.0, 1.0)] * len(protos)
    )
    with pytest.raises(ConfigError, match=r"does not make this student 1.2 times as fast"):
        run(config, taught, tmp_path / "never")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (Target(), "say how far to prune in one way"),
        (Target(params=0.5, macs=0.5), "say how far to prune in one way"),
        (Target(params=-0.5), "--target-params is a share above 0 and at most 1, or a number"),
        (Target(params=1e9), "up to the [0-9]+ that this student has"),
        (Target(params=float("nan")), "--target-params is a share"),
        (Target(macs=1.5), "--target-macs is a share above 0 and at most 1, not 1.5"),
        (Target(macs=-0.1), "--target-macs is a share"),
        (Target(speedup=0.9), "--speedup is above 1"),
    ],
)
def test_a_target_that_is_none_is_refused(target: Target, sentence: str, taught: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        configure(taught / "run", target=target)


def test_what_cannot_be_pruned_is_refused(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="importance must be one of taylor, magnitude, random, not size"):
        configure(taught / "run", importance="size")
    with pytest.raises(CheckpointError, match="there is no student in"):
        configure(tmp_path)
    model = load_student(taught / "run")[0]
    outputs = Outputs(dims=(8, 16), classes=("cat", "dog"))
    save_student(DistilledStudent(model.config, outputs), tmp_path / "task" / "student", Provenance())
    with pytest.raises(ConfigError, match="names classes, which recovery would not teach again"):
        configure(tmp_path / "task")
    with pytest.raises(ConfigError, match="and so not what it learned from: give --data"):
        learned_from(tmp_path / "task" / "student")
    with pytest.raises(ConfigError, match="there is a step for each round"):
        configure(taught / "run", steps=1)


def test_the_recipe_is_that_of_the_students_run(taught: Path) -> None:
    config = configure(taught / "run", seed=7, overrides=["optim.lr=1e-4"])
    own = load_student(taught / "run")[0].config
    assert (config.losses.tinybert.weight, config.losses.relations.weight) == (1.0, 0.0)
    assert (config.data.max_seconds, config.optim.lr, config.seed) == (0.7, 1e-4, 7)
    assert (config.student, config.matryoshka.dims) == (own, (8, 16))
    assert learned_from(taught / "run" / "student") == (taught / "corpus").absolute()
    assert isinstance(config, DistilConfig)
