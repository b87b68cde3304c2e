"""The distillation loop: that it learns, that it resumes bit for bit, and whom it takes for a teacher."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file

from earkit.distill.checkpoint import saved
from earkit.distill.data.corpus import open_corpus
from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher
from earkit.distill.distillation import DistilConfig, DistilReport, distil, distil_config, learner_of
from earkit.distill.distilled import load_student
from earkit.runtime.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 40
TINY = f"""
steps = {STEPS}
save_every = 4
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
[data.augment]
gain = 0.5
[optim]
lr = 5e-3
[losses.csr]
width = 64
k = 8
k_min = 4
k_max = 16
"""
MIXTURE = TINY.replace("[losses.csr]", "[losses.csr]\nweight = 0.1") + "".join(
    f"[losses.{name}]\nweight = {weight}\n{more}\n"
    for name, weight, more in (
        ("relations", 1, ""),
        ("tinybert", 1, "attention = 0.0\nembedding = 0.0"),
        ("codes", 1, ""),
        ("masked", 1, ""),
        ("stella", 0.1, "most_triples = 100"),
        ("contrast", 0.1, ""),
    )
)
KERNEL = 640  # of the ONNX embedder: 25 frames a second


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of tones by six speakers, a DinoSR teacher and two ONNX embedders, all with random weights."""
    place = tmp_path_factory.mktemp("place")
    (place / "corpus").mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,speaker,licence"]
    for i in range(18):
        t = np.arange(int(16000 * rng.uniform(0.5, 1.2))) / 16000
        pitch = np.where((t * 8).astype(int) % 2, 300 + 40 * i, 900)
        clip = 0.3 * np.sin(2 * np.pi * pitch * t) + 0.05 * rng.standard_normal(len(t))
        soundfile.write(place / "corpus" / f"{i:02}.flac", clip, 16000)
        rows.append(f"{i:02}.flac,{i % 6},CC0-1.0")
    (place / "corpus" / "manifest.csv").write_text("\n".join(rows) + "\n")
    write_dinosr(place / "dinosr", depth=2)
    filters = rng.normal(size=(6, 1, KERNEL)).astype(np.float32) / 25
    write_onnx(place / "frames", filters, vector=False)
    write_onnx(place / "vectors", filters, vector=True)
    return place


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_dinosr(folder: Path, depth: int, *, idle_from: int = 99) -> Path:
    """Save a small model; blocks from `idle_from` on pass through what comes in."""
    torch.manual_seed(0)
    small = DinoSRConfig(
        depth=depth, dim=32, heads=2, ffn_dim=64, conv_dim=16, codebooks=2, codebook_size=8, pos_groups=2
    )
    model = DinoSR(small)
    with torch.no_grad():
        for layer in model.student.encoder.layers[idle_from - 1 :]:
            for linear in (layer.attention.out_proj, layer.feed_forward.output_dense):
                linear.weight.zero_()
                linear.bias.zero_()
    save_teacher(model, folder)
    return folder


def write_onnx(folder: Path, filters: np.ndarray, *, vector: bool) -> Path:
    """Save a convolution, its frames or their mean, and the description of it."""
    folder.mkdir()
    nodes = [
        helper.make_node("Unsqueeze", ["audio", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "filters"], ["convolved"], strides=[KERNEL]),
        helper.make_node("Abs", ["convolved"], ["loud"]),
        helper.make_node("Transpose", ["loud"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["frames"], ["vector"], axes=[1], keepdims=0),
    ]
    given = helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, "samples"])
    made = [
        helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, "time", len(filters)]),
        helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, len(filters)]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1]), "axis"),
        numpy_helper.from_array(filters, "filters"),
    ]
    graph = helper.make_graph(nodes, "test", [given], made, constants)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "model.onnx")
    kind = "vector = true" if vector else f"hop = {KERNEL}\nfirst_centre = {KERNEL / 2}"
    output = "vector" if vector else "frames"
    (folder / "embedder.toml").write_text(
        f'dim = {len(filters)}\nspan = {KERNEL}\n{kind}\n[[graphs]]\nfile = "model.onnx"\n'
        f'input = "audio"\noutput = "{output}"\nshape = [1, -1]\n'
    )
    return folder


def recipe(folder: Path, text: str = MIXTURE) -> Path:
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def configure(place: Path, folder: Path, *sets: str, text: str = MIXTURE, start: str = "") -> DistilConfig:
    """Configure a run with the DinoSR teacher, unless the recipe names others."""
    named = "teachers" in text or start
    teachers = [] if named else [str(place / "dinosr")]
    return distil_config(str(recipe(folder, text)), teachers=teachers, start=start, overrides=sets)


def run(config: DistilConfig, place: Path, out: Path) -> list[DistilReport]:
    reports: list[DistilReport] = []
    distil(config, open_corpus(place / "corpus"), out, report=reports.append, say=lambda _: None)
    return reports


def layer_map(out: Path) -> list[list[int]]:
    (entry,) = json.loads((out / "teachers.json").read_text())
    found: list[list[int]] = entry["layer_map"]
    return found


def heard() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) / 10, torch.tensor([16000, 9000])


def test_learns_and_leaves_a_run_folder_with_a_student(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    reports = run(configure(place, tmp_path, "probe_every=15", "log_every=4"), place, out)
    assert [r.step for r in reports] == [1, *range(4, STEPS + 1, 4)]
    assert reports[-1].loss < 0.7 * reports[0].loss
    names = {"relations", "tinybert", "codes", "masked", "stella", "contrast", "csr"}
    assert set(reports[0].parts) == names
    # A batch has too few spans for what is asked of pairs of them, contrast and csr, to fall steadily.
    for name in names - {"contrast", "csr"}:
        assert reports[-1].parts[name] < reports[0].parts[name], name
    # The probes are measured at the first line that is written at or after each 15 steps.
    assert [r.step for r in reports if r.held_out] == [16, 32]
    assert set(reports[4].held_out) == {"clusters", "unit_edit_distance"}
    assert 0 < reports[4].held_out["clusters"] <= 2
    assert {p.name for p in out.iterdir()} >= {"config.toml", "teachers.json", "checkpoints", "student"}
    lines = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == [r.step for r in reports]
    assert {"parts", "held_out", "dead_latents", "audio_per_second", "phases"} <= set(lines[0])
    assert "teacher" in lines[0]["phases"]

    model, provenance = load_student(out)
    assert list(provenance.teachers) == [str(place / "dinosr")]
    assert list(provenance.licences) == ["CC0-1.0"]
    assert (provenance.name, provenance.steps) == ("run", STEPS)
    assert provenance.audio_seconds == pytest.approx(reports[-1].audio_seconds, abs=0.1)
    assert (model.outputs.dims, model.outputs.codebooks, model.outputs.codebook_size) == ((8, 16), 2, 8)
    audio, lengths = heard()
    with torch.no_grad():
        narrow, wide = (model.embed(audio, lengths, dim=dim) for dim in (8, 16))
        frames, _ = model.frames(audio, lengths)
        tokens = model.tokens(frames)
        assert model.sparse is not None
        code = model.sparse.dense(wide, 8)
    torch.testing.assert_close(narrow, torch.nn.functional.normalize(wide[:, :8], dim=1))
    assert frames.shape == (2, 25, 32)
    assert tokens.shape == (2, 2, 25)
    assert int(tokens.max()) < 8
    assert (code != 0).sum(1).tolist() == [8, 8]


def test_configuration_is_written_whole_and_is_a_recipe(place: Path, tmp_path: Path) -> None:
    text = MIXTURE + f'[[teachers]]\nname = "{place / "dinosr"}"\npairs = [[1, 1], [2, 2]]\nweight = 2.0\n'
    config = configure(place, tmp_path, "steps=1", text=text)
    run(config, place, tmp_path / "run")
    assert distil_config(str(tmp_path / "run" / "config.toml")) == config


# Killed and resumed


def kit(*arguments: object, processes: int = 1) -> subprocess.Popen[str]:
    module = ["-m", "earkit.cli", *map(str, arguments)]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        module = [*torchrun, *module]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *module], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, talk = process.communicate(timeout=300)
    assert process.returncode == 0, talk
    return talk


def kill_at(process: subprocess.Popen[str], out: Path, step: int) -> None:
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= step:
            break
        time.sleep(0.005)
    # Ranks have sessions of their own, out of reach of the launcher's group.
    for victim in [*psutil.Process(process.pid).children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    process.communicate()


def final_weights(out: Path) -> dict[str, torch.Tensor]:
    newest = saved(out / "checkpoints")[-1]
    assert newest.name == f"step-{STEPS:08d}"
    return load_file(newest / "model.safetensors") | {
        f"optimizer.{k}": v for k, v in load_file(newest / "optimizer.safetensors").items()
    }


@pytest.mark.parametrize("cached", [False, True], ids=["live", "cached"])
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(
    place: Path, tmp_path: Path, *, cached: bool
) -> None:
    """The run that nobody disturbs is in this process, the other one in two of its own."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    config = configure(place, tmp_path, "elastic=true", f"cache={str(cached).lower()}")
    run(config, place, straight)
    command = (
        *("distill", "--recipe", tmp_path / "recipe.toml", "--teacher", place / "dinosr", "--out", broken),
        *("--data", place / "corpus", "--elastic", "--cache" if cached else "--no-cache"),
    )
    step = random.randint(5, STEPS - 4)  # any step will do; a failure prints it
    killed = kit(*command)
    kill_at(killed, broken, step)
    assert killed.returncode == -signal.SIGKILL, f"was to be killed at step {step}"
    assert not (broken / "student").exists()
    assert "resuming from" in finish(kit(*command))
    expected, found = final_weights(straight), final_weights(broken)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), f"{name} differs after a kill at step {step}"
    steps = [json.loads(x)["step"] for x in (broken / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))
    students = [load_file(out / "student" / "student.safetensors") for out in (straight, broken)]
    assert all(torch.equal(value, students[1][name]) for name, value in students[0].items())


def test_two_processes_killed_and_resumed(place: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    command = (
        *("distill", "--recipe", recipe(tmp_path), "--teacher", place / "dinosr", "--data", place / "corpus"),
        *("--elastic", "--out"),
    )
    assert "2 processes" in finish(kit(*command, straight, processes=2))
    step = random.randint(5, STEPS - 4)  # any step will do; a failure prints it
    kill_at(kit(*command, broken, processes=2), broken, step)
    assert "resuming from" in finish(kit(*command, broken, processes=2))
    found = final_weights(broken)
    for name, value in final_weights(straight).items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0, msg=f"{name}, killed at {step}")


def test_cached_and_live_give_the_same_loss(place: Path, tmp_path: Path, cache: Path) -> None:
    first = {}
    for cached in ("true", "false"):
        config = configure(place, tmp_path, "steps=1", f"cache={cached}")
        (first[cached],) = run(config, place, tmp_path / cached)
        assert (cache / "features").is_dir()  # made by the first run, and of no use to the second
    assert first["true"].parts.keys() == first["false"].parts.keys()
    for name, live in first["false"].parts.items():
        assert first["true"].parts[name] == pytest.approx(live, rel=2e-3, abs=2e-4), name
    assert first["true"].loss == pytest.approx(first["false"].loss, rel=1e-3)
    assert first["true"].loss != first["false"].loss  # float16 has been between


# Teachers


@pytest.mark.parametrize("other", ["frames", "vectors"])
def test_two_teachers_at_once(place: Path, tmp_path: Path, other: str) -> None:
    said: list[str] = []
    names = [str(place / "dinosr"), str(place / other)]
    config = distil_config(str(recipe(tmp_path)), teachers=names)
    reports: list[DistilReport] = []
    out = tmp_path / "run"
    distil(config, open_corpus(place / "corpus"), out, report=reports.append, say=said.append)
    assert reports[-1].loss < 0.8 * reports[0].loss
    by_frame = {"relations", "tinybert", "codes", "masked"}
    theirs = by_frame - {"codes"} if other == "frames" else set()
    expected = {f"{names[0]}.{loss}" for loss in by_frame} | {f"{names[1]}.{loss}" for loss in theirs}
    assert set(reports[0].parts) == expected | {"stella", "contrast", "csr"}
    lacking = ", ".join(sorted(by_frame - theirs, key=["tinybert", "relations", "codes", "masked"].index))
    assert f"teacher {names[1]} gives nothing for {lacking}: off for it" in said
    entries = json.loads((out / "teachers.json").read_text())
    assert [entry["name"] for entry in entries] == names
    assert entries[0]["layer_map"] == [[1, 1], [2, 2]]
    assert entries[1]["layer_map"] == ([[1, 1], [2, 1]] if other == "frames" else [])
    assert list(load_student(out)[1].teachers) == names


def test_weights_of_teachers_are_shares(place: Path, tmp_path: Path) -> None:
    """A teacher of three times the weight of the other gets three quarters of its loss on its own."""
    teachers = [(place / "dinosr", 3.0), (place / "frames", 1.0)]
    text = TINY + "[losses.tinybert]\nweight = 1.0\nattention = 0.0\nembedding = 0.0\n"
    alone = configure(place, tmp_path, "steps=1", text=text)
    (whole,) = run(alone, place, tmp_path / "alone")
    both = text + "".join(f'[[teachers]]\nname = "{name}"\nweight = {w}\n' for name, w in teachers)
    (shared,) = run(configure(place, tmp_path, "steps=1", text=both), place, tmp_path / "both")
    assert shared.parts[f"{place / 'dinosr'}.tinybert"] == pytest.approx(
        0.75 * whole.parts["tinybert"],
        rel=0.05,  # the projections begin with other random weights
    )


def test_vectors_alone_teach_embeddings(place: Path, tmp_path: Path) -> None:
    text = TINY + "[losses.stella]\nweight = 0.1\nmost_triples = 100\n"
    config = distil_config(str(recipe(tmp_path, text)), teachers=[str(place / "vectors")])
    reports = run(config, place, tmp_path / "run")
    assert set(reports[0].parts) == {"stella"}
    assert reports[-1].loss < 0.8 * reports[0].loss


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", [[1, 2], [2, 4]]),
        ('layer_map = "last"', [[2, 4]]),
        # Layers 2 to 4 are one and the same, so 1 and 4 represent them all.
        ('layer_map = "similar"', [[1, 1], [2, 4]]),
        ("pairs = [[1, 3], [2, 3]]", [[1, 3], [2, 3]]),
    ],
    ids=["uniform", "last", "similar", "explicit"],
)
def test_layer_maps_end_in_the_run_folder(
    place: Path, tmp_path: Path, asked: str, expected: list[list[int]]
) -> None:
    teacher = write_dinosr(tmp_path / "deep", depth=4, idle_from=3)
    text = TINY + f'[losses.relations]\nweight = 1.0\n[[teachers]]\nname = "{teacher}"\n{asked}\n'
    run(configure(place, tmp_path, "steps=1", "cache=false", text=text), place, tmp_path / "run")
    assert layer_map(tmp_path / "run") == expected


def change_weights(teacher: Path) -> None:
    file = teacher / "model.safetensors"
    weights = load_file(file)
    weights[next(iter(weights))] += 1
    save_file(weights, file, metadata={"format": "pt"})


def test_a_resumed_run_refuses_a_teacher_that_has_changed(place: Path, tmp_path: Path) -> None:
    teacher = write_dinosr(tmp_path / "teacher", depth=2)
    path = str(recipe(tmp_path))
    run(distil_config(path, teachers=[str(teacher)], overrides=["steps=2"]), place, tmp_path / "run")
    change_weights(teacher)
    with pytest.raises(ConfigError, match="has changed since this run began"):
        run(distil_config(path, teachers=[str(teacher)], overrides=["steps=4"]), place, tmp_path / "run")


def test_a_damaged_record_of_the_teachers_is_said(place: Path, tmp_path: Path) -> None:
    run(configure(place, tmp_path, "steps=1"), place, tmp_path / "run")
    (tmp_path / "run" / "teachers.json").write_text('[{"name": ')
    with pytest.raises(CheckpointError, match="is damaged"):
        run(configure(place, tmp_path, "steps=2"), place, tmp_path / "run")


def test_what_a_run_without_checkpoints_left_binds_nobody(place: Path, tmp_path: Path) -> None:
    """A run that was killed before its first checkpoint begins anew, with any teachers and layer map."""
    teacher = write_dinosr(tmp_path / "teacher", depth=2)
    text = TINY + "[losses.relations]\nweight = 1.0\n"
    out = tmp_path / "run"
    run(configure(place, tmp_path, "steps=1", text=text), place, out)
    shutil.rmtree(out / "checkpoints")
    change_weights(teacher)
    last = text + f'[[teachers]]\nname = "{teacher}"\nlayer_map = "last"\n'
    run(configure(place, tmp_path, "steps=1", text=last), place, out)
    assert layer_map(out) == [[2, 2]]


# Stages and single losses


@pytest.fixture(scope="module")
def student(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps."""
    folder = tmp_path_factory.mktemp("student")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARKIT_CACHE", str(folder / "cache"))
        run(configure(place, folder, "steps=5"), place, folder / "run")
    return folder / "run"


def test_frozen_student_trains_its_heads_alone(place: Path, tmp_path: Path, student: Path) -> None:
    """The shipped recipe of that stage, which knows nothing of this student's widths."""
    lengths = ("max_seconds=0.7", "batch_seconds=4.0", "workers=0")
    sets = [*(f"data.{each}" for each in lengths), "steps=20", "save_every=20", "log_every=1"]
    sets += ["losses.csr.width=128", "losses.csr_joint=true"]  # joint: the loss would reach the student
    config = distil_config("sparse", start=str(student), overrides=sets)
    assert config.teachers == ()
    assert config.matryoshka.dims == (8, 16)
    reports = run(config, place, tmp_path / "run")
    assert set(reports[0].parts) == {"csr"}
    assert reports[-1].loss < 0.9 * reports[0].loss
    before, after = (load_student(folder)[0] for folder in (student, tmp_path / "run"))
    kept = before.student.state_dict() | {f"h.{k}": v for k, v in before.token_head.state_dict().items()}
    found = after.student.state_dict() | {f"h.{k}": v for k, v in after.token_head.state_dict().items()}
    assert kept.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in kept.items())
    assert after.outputs.dims == (8, 16)
    assert after.sparse is not None
    assert after.sparse.config.width == 128
    assert list(load_student(tmp_path / "run")[1].teachers) == [str(place / "dinosr")]


def test_a_run_goes_on_from_another_ones_student(place: Path, tmp_path: Path, student: Path) -> None:
    """Its first step has the weights of that student, its heads, its shape and its teachers."""
    before = load_file(student / "student" / "student.safetensors")
    config = configure(place, tmp_path, "steps=1", "optim.lr=0.0", start=str(student))
    assert [teacher.name for teacher in config.teachers] == [str(place / "dinosr")]
    run(config, place, tmp_path / "still")
    after = load_file(tmp_path / "still" / "student" / "student.safetensors")
    assert before.keys() == after.keys()
    learnt = {name for name, _ in load_student(student)[0].named_parameters()}  # not what is only counted
    turned = {name for name in learnt if name.startswith(("student.pooling.project", "sparse"))}
    assert [name for name in learnt - turned if not torch.equal(before[name], after[name])] == []
    models = [load_student(folder)[0] for folder in (student, tmp_path / "still")]
    one, other = (model.student.pooling.project.weight for model in models)
    torch.testing.assert_close(one.T @ one, other.T @ other)
    run(configure(place, tmp_path, "steps=2", start=str(student)), place, tmp_path / "on")
    after = load_file(tmp_path / "on" / "student" / "student.safetensors")
    assert not torch.equal(before["student.stem.weight"], after["student.stem.weight"])


def test_in_the_end_the_embedding_is_turned_to_its_principal_axes(place: Path, tmp_path: Path) -> None:
    """Which changes nothing but what prefixes keep, and leaves the heads of losses with what they knew."""
    corpus = open_corpus(place / "corpus" / "manifest.csv")
    learner = learner_of(configure(place, tmp_path), corpus, tmp_path / "run", print)
    learner.calibrate()
    learner.module.eval()
    stella = learner.module.embedding_losses.stella
    assert stella is not None
    before = learner.distilled()
    projected = before.student.pooling.project.weight.T @ stella.projection.weight.T
    learner.finish()
    after = learner.distilled()
    audio, lengths = heard()
    audio = audio + 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (model.embed(audio, lengths) for model in (before, after))
        codes = [model.sparse.encode(x, 8) for model, x in ((before, one), (after, other)) if model.sparse]
        cuts = torch.cat(list(learner._embedded_cuts()))
    assert not torch.allclose(one, other, atol=0.1)
    torch.testing.assert_close(one @ one.T, other @ other.T)
    torch.testing.assert_close(codes[0], codes[1])
    torch.testing.assert_close(
        after.student.pooling.project.weight.T @ stella.projection.weight.T, projected, atol=1e-5, rtol=1e-4
    )
    spread = torch.cov(cuts.T)
    assert (spread.diagonal().diff() < 1e-6).all()  # falls
    torch.testing.assert_close(spread, spread.diagonal().diag(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "given", [["matryoshka.dims=[16]"], ["losses.stella.weight=0", "losses.contrast.weight=0"]]
)
def test_what_was_not_trained_to_be_cut_is_not_turned(place: Path, tmp_path: Path, given: list[str]) -> None:
    corpus = open_corpus(place / "corpus" / "manifest.csv")
    learner = learner_of(configure(place, tmp_path, *given), corpus, tmp_path / "run", print)
    before = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
    learner.finish()
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.module.state_dict().items())


def test_the_robust_recipe_disturbs_what_the_student_hears(place: Path, student: Path) -> None:
    config = distil_config("robust", start=str(student))
    assert config.data.augments
    assert not config.freeze
    assert "codes" in config.losses.on()
    assert [teacher.name for teacher in config.teachers] == [str(place / "dinosr")]


def test_elastic_teaches_the_exits(place: Path, tmp_path: Path) -> None:
    """The norm behind the first block is of use to nobody else."""
    text = TINY + "[losses.stella]\nweight = 0.1\nmost_triples = 100\n"
    norms = {}
    for elastic in ("true", "false"):
        reports = run(
            configure(place, tmp_path, "steps=3", f"elastic={elastic}", text=text), place, tmp_path / elastic
        )
        assert ("stella_early" in reports[0].parts) == (elastic == "true")
        model, _ = load_student(tmp_path / elastic)
        assert model.outputs.elastic == (elastic == "true")
        norms[elastic] = model.student.norms[0].weight
    assert torch.equal(norms["false"], torch.ones(32))
    assert not torch.equal(norms["true"], torch.ones(32))


@pytest.mark.parametrize(
    ("losses", "parts", "dims"),
    [
        ("[losses.contrast]\nweight = 1.0\ntemperature = 1.0", {"contrast"}, (8, 16)),
        ("[losses.codes]\nweight = 1.0", {"codes"}, ()),
        ("[losses.tinybert]\nweight = 1.0\nattention = 0.0", {"tinybert"}, ()),
        ("[losses.masked]\nweight = 1.0", {"masked"}, ()),
        ("[losses.distance_correlation]\nweight = 1.0", {"distance_correlation"}, ()),
        (
            '[losses.distance_correlation]\nweight = 1.0\non = "vectors"',
            {"distance_correlation"},
            (8, 16),
        ),
    ],
)
def test_one_loss_alone(
    place: Path, tmp_path: Path, losses: str, parts: set[str], dims: tuple[int, ...]
) -> None:
    """Each falls, and the student may be cut only to widths that a loss has trained."""
    sets = ("steps=20", "data.batch_seconds=7", "optim.warmup=0.2")
    reports = run(configure(place, tmp_path, *sets, text=TINY + losses + "\n"), place, tmp_path / "run")
    assert set(reports[0].parts) == parts
    first, last = (np.mean([r.loss for r in some]) for some in (reports[:4], reports[-4:]))
    assert last < first
    assert load_student(tmp_path / "run")[0].outputs.dims == dims


# What means nothing


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        (["losses.relation.weight=1"], "unknown key relation; did you mean relations"),
        (["losses.stella.weigth=1"], "unknown key weigth; did you mean weight"),
        (["stepps=1"], "unknown key stepps; did you mean steps"),
        (["matryoshka.dims=[4, 8]"], "they must end with the full width, student.embedding_dim = 16"),
        (["freeze=true"], "give --from RUN"),
        (["elastic=true", "losses.stella.weight=0"], "elastic is taught by the stella loss"),
        (["student.heads=5"], "multiple of"),
        (["steps=0"], "must be at least 1"),
        (["student=tiny"], "student must be a table"),
        (["data.augment.speed=0.5"], "give 0"),
        (
            [f"losses.{name}.weight=0" for name in ("relations", "tinybert", "codes", "masked", "stella")]
            + ["losses.contrast.weight=0", "losses.csr.weight=0"],
            "all losses are off",
        ),
    ],
)
def test_configurations_that_mean_nothing(
    place: Path, tmp_path: Path, sets: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        configure(place, tmp_path, *sets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "teachers", "sentence"),
    [
        ("[losses.codes]\nweight = 1.0\n", ["frames"], "nothing"),
        ("[losses.relations]\nweight = 1.0\n", ["vectors"], "nothing"),
        ("[losses.masked]\nweight = 1.0\nlayers = 3\n", ["dinosr"], "masked.layers is 3"),
        ("[losses.relations]\nweight = 1.0\nteacher_layer = 3\n", ["dinosr"], "at most 2"),
    ],
)
def test_losses_that_the_teachers_cannot_serve(
    place: Path, tmp_path: Path, text: str, teachers: list[str], sentence: str
) -> None:
    config = distil_config(
        str(recipe(tmp_path, TINY + text)), teachers=[str(place / name) for name in teachers]
    )
    with pytest.raises(ConfigError, match=sentence) as caught:
        run(config, place, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_layer_that_no_teacher_has_is_refused(place: Path, tmp_path: Path) -> None:
    for asked, sentence in (
        ("vector_layers = [9]", "has layers 0 to 2"),
        ("pairs = [[1, 9]]", "teacher layer from 1 to 2"),
    ):
        text = MIXTURE + f'[[teachers]]\nname = "{place / "dinosr"}"\n{asked}\n'
        with pytest.raises(ConfigError, match=sentence):
            run(configure(place, tmp_path, text=text), place, tmp_path / "run")


def test_a_frozen_student_without_heads_has_nothing_to_learn(
    place: Path, tmp_path: Path, student: Path
) -> None:
    text = TINY + "[losses.contrast]\nweight = 1.0\n"
    config = configure(place, tmp_path, "freeze=true", text=text, start=str(student))
    with pytest.raises(ConfigError, match="nothing"):
        run(config, place, tmp_path / "run")
