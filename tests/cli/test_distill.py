"""`kit distill` as a person runs it: what it makes, what it says, and how it refuses."""

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from earkit.distill import distillation, feature_cache, run_folder
from earkit.distill.checkpoint import saved
from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher
from earkit.distill.distilled import load_student

pytestmark = pytest.mark.usefixtures("one_thread")

Kit = Callable[..., tuple[int, str, str]]

RECIPE = """
steps = 4
save_every = 2
log_every = 1
[student]
size = "custom"
dim = 32
embedding_dim = 16
[matryoshka]
dims = [8, 16]
[losses.relations]
weight = 1.0
[losses.stella]
weight = 0.1
most_triples = 50
[losses.csr]
width = 64
k = 8
k_max = 16
[data]
max_seconds = 0.7
min_seconds = 0.3
batch_seconds = 1.5
workers = 0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, a corpus and a teacher with random weights."""
    place = tmp_path_factory.mktemp("place")
    (place / "small.toml").write_text(RECIPE)
    (place / "corpus").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        soundfile.write(place / "corpus" / f"{i}.flac", 0.1 * rng.standard_normal(10_000), 16_000)
    torch.manual_seed(0)
    small = DinoSRConfig(
        depth=1, dim=32, heads=2, ffn_dim=32, conv_dim=16, codebooks=1, codebook_size=8, pos_groups=2
    )
    save_teacher(DinoSR(small), place / "teacher")
    return place


@pytest.fixture(autouse=True)
def here(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, an empty cache, and no way out."""
    monkeypatch.setenv("EARKIT_DINOSR_URL", "http://127.0.0.1:1/dinosr.ckpt")
    return here


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """Run `kit distill`."""
    return partial(kit, "distill")


def small(place: Path, *more: object) -> tuple[object, ...]:
    given = ("--recipe", place / "small.toml", "--teacher", place / "teacher", "--data", place / "corpus")
    return *given, "--out", "run", *more


def test_a_run_answers_with_its_student(kit: Kit, place: Path, here: Path) -> None:
    code, answer, talk = kit(*small(place))
    assert code == 0, talk
    assert answer == "run/student\n"
    assert "6 clips" in talk
    assert load_student(here / "run")[0].outputs.dims == (8, 16)
    code, answer, talk = kit(*small(place, "--json", "--steps", 6))
    assert json.loads(answer) == {"run": "run", "student": "run/student"}
    assert "resuming from run/checkpoints, at step 4" in talk
    assert saved(here / "run" / "checkpoints")[-1].name == "step-00000006"
    assert "complete already, at step 6" in kit(*small(place, "--steps", 6))[2]


def test_without_data_it_learns_from_the_embedded_corpus(
    kit: Kit, place: Path, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The shipped recipe but for its steps, and a corpus that does not take a minute to make."""
    (tmp_path / "recipes").mkdir()
    text = (distillation.RECIPES / "general.toml").read_text()
    text, found = re.subn(r"(?m)^steps = \d+$", "steps = 2", text)
    assert found == 1
    (tmp_path / "recipes" / "general.toml").write_text(text)
    monkeypatch.setattr(distillation, "RECIPES", tmp_path / "recipes")
    monkeypatch.setattr(run_folder, "default_corpus", lambda: place / "corpus")
    code, answer, talk = kit("--teacher", place / "teacher", "--student", "micro")
    assert (code, answer) == (0, "runs/micro/student\n"), talk
    assert "no --data given: using the built-in synthetic speech" in talk
    model, provenance = load_student(here / "runs" / "micro")
    assert (model.config.size, model.outputs.dims) == ("micro", (32, 64, 128, 256))
    assert list(provenance.teachers) == [str(place / "teacher")]
    assert (model.outputs.codebooks, model.outputs.codebook_size) == (1, 8)
    assert model.sparse is not None


def test_flags_reach_the_configuration(kit: Kit, place: Path, here: Path) -> None:
    flags = ("--seed", 7, "--elastic", "--no-cache", "--steps", 1, "--set", "optim.lr=2e-4")
    assert kit(*small(place, *flags, "--set", "student.depth=2"))[0] == 0
    written = (here / "run" / "config.toml").read_text()
    for line in ("seed = 7", "elastic = true", "cache = false", "steps = 1", "lr = 0.0002"):
        assert line in written.splitlines()
    assert not (here.parent / "cache" / "features").exists()


def test_from_a_run_with_its_student_frozen(kit: Kit, place: Path, here: Path) -> None:
    assert kit(*small(place))[0] == 0
    sets = ("freeze=true", "losses.relations.weight=0", "losses.stella.weight=0", "losses.csr.weight=1")
    chosen = [text for pair in sets for text in ("--set", pair)]
    recipe = ("--recipe", place / "small.toml", "--data", place / "corpus", *chosen)
    code, answer, talk = kit(*recipe, "--from", "run", "--json")
    assert code == 0, talk
    assert json.loads(answer)["run"] == "runs/run-small"
    before, after = (load_student(here / folder)[0] for folder in ("run", "runs/run-small"))
    assert after.sparse is not None
    assert before.sparse is None
    kept, found = before.student.state_dict(), after.student.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in kept.items())
    code, _, talk = kit(*recipe, "--from", "run", "--student", "tiny")
    assert (code, talk) == (2, "kit: the student in run is custom, not tiny: leave one out\n")


def test_dry_run_trains_nothing(kit: Kit, place: Path, here: Path) -> None:
    code, answer, _ = kit(*small(place, "--dry-run", "--json"))
    plan = json.loads(answer)
    assert (code, plan["steps"]) == (0, 4)
    assert plan["teachers"].keys() == {str(place / "teacher")}
    wider = json.loads(kit(*small(place, "--dry-run", "--json", "--set", "student.dim=64"))[1])
    assert wider["parameters"] > plan["parameters"]
    assert wider["multiply_adds_per_second"] > plan["multiply_adds_per_second"]
    table = kit(*small(place, "--dry-run"))[1]
    for row in ("parameters", "multiply-adds", "look-ahead", "teachers", "whole run"):
        assert any(line.startswith(row) for line in table.splitlines())
    assert not any(here.iterdir())


def refusal(kit: Kit, *arguments: object) -> tuple[int, str]:
    """Expect nothing but one sentence."""
    code, answer, talk = kit(*arguments)
    assert answer == ""
    assert talk.startswith("kit: ")
    assert talk.count("\n") == 1
    assert "unexpected" not in talk
    return code, talk


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--set", "losses.relation.weight=1"), "unknown key relation; did you mean relations"),
        (("--set", "teachers.weight=2"), "teachers must be a list"),
        (("--set", "student=tiny"), "student must be a table"),
        (("--student", "huge"), "must be one of micro, tiny, small, custom, not huge"),
        (("--set", "stepps=3"), "unknown key stepps; did you mean steps"),
        (("--set", "steps"), "write it as key=value"),
        (("--steps", "0"), "must be at least 1"),
        (("--recipe", "specific"), "no recipe specific: give a TOML file or one of general"),
        (
            ("--set", "matryoshka.dims=[4, 8]"),
            "they must end with the full width, student.embedding_dim = 16",
        ),
        (("--set", "losses.relations.weight=0", "--set", "losses.stella.weight=0"), "all losses are off"),
        (("--set", "freeze=true"), "freeze needs a student to start from: give --from RUN"),
    ],
)
def test_wrong_usage_is_one_sentence_and_begins_nothing(
    kit: Kit, place: Path, here: Path, more: tuple[str, ...], sentence: str
) -> None:
    code, talk = refusal(kit, *small(place, *more))
    assert code == 2
    assert sentence in talk
    assert not any(here.iterdir())


def test_a_teacher_given_twice(kit: Kit, place: Path) -> None:
    code, talk = refusal(kit, *small(place, "--teacher", place / "teacher"))
    assert (code, talk) == (2, "kit: a teacher is named twice: give each once, with a weight\n")


def test_no_teacher(kit: Kit) -> None:
    code, talk = refusal(kit, "--student", "tiny")
    assert code == 2
    assert "no teacher is given: name one or several with --teacher; see `kit teachers list`" in talk


@pytest.mark.parametrize("name", ["dinosr_base", "nobody"])
def test_an_absent_teacher_is_said_at_once(kit: Kit, here: Path, name: str) -> None:
    """Before the embedded corpus is made, which takes a minute, and without a run folder."""
    code, talk = refusal(kit, "--teacher", name, "--student", "tiny")
    assert code == 4
    assert name in talk
    for way in ("kit pretrain", "kit teachers import", "path of a teacher folder"):
        assert way in talk
    if name == "dinosr_base":
        assert "http://127.0.0.1:1/dinosr.ckpt cannot be fetched" in talk
    assert not any(here.iterdir())


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "dinosr.safetensors"])
def test_a_teacher_folder_with_missing_files(kit: Kit, place: Path, here: Path, missing: str) -> None:
    shutil.copytree(place / "teacher", here / "teacher")
    (here / "teacher" / missing).unlink()
    given = ("--recipe", place / "small.toml", "--data", place / "corpus", "--teacher", "teacher")
    code, answer, talk = kit(*given)
    assert (code, answer) == (4, "")
    last = talk.splitlines()[-1]
    assert last.startswith("kit: ")
    assert "teacher" in last
    assert "Traceback" not in talk


def test_a_start_that_is_no_student(kit: Kit, place: Path) -> None:
    code, talk = refusal(kit, *small(place, "--from", place))
    assert code == 4
    assert f"there is no student in {place}" in talk


@pytest.mark.parametrize("kind", ["missing", "empty folder", "only bad files", "all too short"])
def test_data_in_which_nothing_can_be_used(kit: Kit, place: Path, here: Path, kind: str) -> None:
    data = here / "data"
    if kind != "missing":
        data.mkdir()
    if kind == "only bad files":
        (data / "text.wav").write_text("hello")
    if kind == "all too short":
        soundfile.write(data / "short.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 4000), 16_000)
    given = ("--recipe", place / "small.toml", "--teacher", place / "teacher", "--out", "run")
    code, answer, talk = kit(*given, "--data", data)
    assert (code, answer) == (3, "")
    last = talk.splitlines()[-1]
    assert last.startswith("kit: ")
    assert str(data) in last
    assert "Traceback" not in talk


def test_a_disk_too_small_for_the_features_names_the_way_on(
    kit: Kit, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        feature_cache, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=1000))
    )
    code, _, talk = kit(*small(place))
    assert code == 5
    assert talk.splitlines()[-1].startswith(f"kit: the cache of {place / 'teacher'} needs about")
    assert talk.splitlines()[-1].endswith("free space or use --no-cache")
    assert kit(*small(place, "--no-cache"))[0] == 0


def test_another_run_is_not_gone_on_with(kit: Kit, place: Path, here: Path) -> None:
    assert kit(*small(place))[0] == 0
    code, talk = refusal(kit, *small(place, "--set", "losses.stella.weight=0.2"))
    assert (code, talk.split(":")[1]) == (2, " run was begun with another losses")
    code, talk = refusal(kit, *small(place, "--data", place / "corpus" / "0.flac"))
    assert code == 2
    assert "begun with other data" in talk
    assert kit(*small(place, "--fresh", "--seed", 1))[0] == 0
    assert "seed = 0" in (here / "run.1" / "config.toml").read_text()
    assert "seed = 1" in (here / "run" / "config.toml").read_text()


def test_a_resumed_run_refuses_a_teacher_that_has_changed(kit: Kit, place: Path, here: Path) -> None:
    shutil.copytree(place / "teacher", here / "teacher")
    given = ("--recipe", place / "small.toml", "--data", place / "corpus", "--teacher", "teacher")
    assert kit(*given)[0] == 0
    with (here / "teacher" / "config.json").open("a") as config:
        config.write("\n")
    code, talk = refusal(kit, *given, "--steps", 6)
    assert code == 2
    assert "teacher teacher has changed since this run began" in talk
