"""Students on disk: the same in every output after a round trip, and one sentence where they are damaged."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from earkit.distill.distilled import (
    DistilledStudent,
    Outputs,
    Provenance,
    find_student,
    load_student,
    newest_student,
    run_meant,
    run_of,
    save_student,
)
from earkit.distill.losses.csr import CSRConfig
from earkit.distill.student import StudentConfig
from earkit.runtime.errors import CheckpointError, ConfigError, StorageError

CONFIG = StudentConfig(size="custom", dim=32, depth=2, bands=20, embedding_dim=16, block="hybrid")
EVERYTHING = Outputs(
    dims=(4, 8, 16),
    codebooks=3,
    codebook_size=5,
    sparse=CSRConfig(weight=0.1, width=64, k=8, k_min=2, k_max=16),
    classes=("yes", "no", "naïve"),
    elastic=True,
)
PROVENANCE = Provenance(
    name="mine",
    teachers=("dinosr_nano", "ecapa"),
    data="corpus",
    licences=("CC0-1.0",),
    audio_seconds=12.5,
    steps=7,
    figures={"phones": 0.97},
)
WEIGHTS, DESCRIPTION = "student.safetensors", "student.json"


def student(outputs: Outputs = EVERYTHING) -> DistilledStudent:
    torch.manual_seed(0)
    model = DistilledStudent(CONFIG, outputs).eval()
    model.student.log_mel.mean.normal_()
    return model


def clips() -> tuple[Tensor, Tensor]:
    audio = torch.randn(2, 9000, generator=torch.Generator().manual_seed(1))
    return 0.1 * audio, torch.tensor([9000, 3000])


@pytest.mark.parametrize("outputs", [EVERYTHING, Outputs()])
@torch.no_grad()
def test_round_trip_keeps_every_output(tmp_path: Path, outputs: Outputs) -> None:
    model = student(outputs)
    save_student(model, tmp_path / "student", PROVENANCE)
    assert {file.name for file in (tmp_path / "student").iterdir()} == {WEIGHTS, DESCRIPTION}
    assert [file.name for file in tmp_path.iterdir()] == ["student"]
    again, provenance = load_student(tmp_path / "student")
    assert (again.config, again.outputs, provenance) == (model.config, outputs, PROVENANCE)
    assert not again.training
    frames, valid = model.frames(*clips())
    assert torch.equal(again.frames(*clips())[0], frames)
    assert torch.equal(again.frames(*clips())[1], valid)
    assert torch.equal(again.embed(*clips()), model.embed(*clips()))
    if outputs.codebooks:
        assert torch.equal(again.tokens(frames), model.tokens(frames))
        embedding = model.embed(*clips())
        assert torch.equal(again.classifier(embedding), model.classifier(embedding))
        assert torch.equal(again.sparse.dense(embedding, 9), model.sparse.dense(embedding, 9))
    else:
        assert again.token_head is again.sparse is again.classifier is None


@torch.no_grad()
def test_a_student_from_before_pruning_was_known_still_loads(tmp_path: Path) -> None:
    save_student(student(), tmp_path / "old", PROVENANCE)
    described = json.loads((tmp_path / "old" / DESCRIPTION).read_text())
    del described["student"]["inner_dims"], described["student"]["block_heads"]
    (tmp_path / "old" / DESCRIPTION).write_text(json.dumps(described))
    assert load_student(tmp_path / "old")[0].config == CONFIG


def test_tokens_are_the_best_of_each_codebook() -> None:
    model = student()
    frames = torch.randn(2, 3, 32)
    made = model.tokens(frames)
    assert made.shape == (3, 2, 3)
    weight, bias = model.token_head.weight, model.token_head.bias
    for book in range(3):
        own = slice(5 * book, 5 * book + 5)
        for clip in range(2):
            for time in range(3):
                scores = [
                    float(w @ frames[clip, time] + b) for w, b in zip(weight[own], bias[own], strict=True)
                ]
                assert made[book, clip, time] == scores.index(max(scores))


@torch.no_grad()
def test_embeddings_are_cut_and_then_of_length_one() -> None:
    model = student()
    frames, valid = model.frames(*clips())
    full = model.student.pool(frames, valid)
    for dim in (4, 8, 16, None):
        made = model.embed(*clips(), dim=dim)
        assert made.shape == (2, dim or 16)
        torch.testing.assert_close(made, F.normalize(full[:, : dim or 16], dim=1))
        torch.testing.assert_close(made.norm(dim=1), torch.ones(2))
    with pytest.raises(ConfigError, match=r"dim 5 .*take one of 4, 8, 16"):
        model.embed(*clips(), dim=5)
    with pytest.raises(ConfigError, match="take one of 16"):
        student(Outputs()).embed(*clips(), dim=8)


@torch.no_grad()
def test_an_early_exit_embeds_what_the_first_blocks_made() -> None:
    model = student()
    trace = model.student(*clips())
    early = model.student.pool(trace.hidden[1], trace.valid)
    torch.testing.assert_close(model.embed(*clips(), depth=1), F.normalize(early, dim=1))
    assert not torch.allclose(model.embed(*clips(), depth=1), model.embed(*clips()))


def test_a_run_is_as_good_as_its_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_student(student(), tmp_path / "runs" / "x" / "student", PROVENANCE)
    folder = tmp_path / "runs" / "x" / "student"
    assert find_student(folder) == find_student(tmp_path / "runs" / "x") == folder
    monkeypatch.chdir(tmp_path)
    assert find_student(Path("x")) == Path("runs/x/student")
    assert load_student(Path("x"))[1].name == "mine"


def test_a_run_that_is_not_done_says_how_to_finish_it(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="a run without a student yet: finish it with `kit distill"):
        load_student(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no student in .*none: make one"):
        load_student(tmp_path / "none")


def test_saving_again_replaces_a_student_and_nothing_else(tmp_path: Path) -> None:
    save_student(student(), tmp_path / "student", PROVENANCE)
    save_student(student(Outputs()), tmp_path / "student", Provenance("other"))
    assert load_student(tmp_path / "student")[1] == Provenance("other")
    foreign = tmp_path / "holiday"
    foreign.mkdir()
    (foreign / "photo.jpg").write_text("sun")
    with pytest.raises(StorageError, match="holiday exists and is not a student of ours"):
        save_student(student(), foreign, PROVENANCE)
    assert (foreign / "photo.jpg").read_text() == "sun"


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write the student to"):
        save_student(student(), tmp_path / "file" / "student", PROVENANCE)


def rewrite(folder: Path, *keys: str, to: object = None) -> None:
    """Set an entry of the description, or take it away."""
    described = inner = json.loads((folder / DESCRIPTION).read_text())
    for key in keys[:-1]:
        inner = inner[key]
    if to is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    (folder / DESCRIPTION).write_text(json.dumps(described))


def lose_a_tensor(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    state.pop("student.blank")
    save_file(state, folder / WEIGHTS)


DAMAGES = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "half of the weights": lambda folder: (folder / WEIGHTS).write_bytes(
        (folder / WEIGHTS).read_bytes()[:20_000]
    ),
    "a tensor is missing": lose_a_tensor,
    "weights are text": lambda folder: (folder / WEIGHTS).write_text("weights"),
    "description is no JSON": lambda folder: (folder / DESCRIPTION).write_text("{"),
    "description is no text": lambda folder: (folder / DESCRIPTION).write_bytes(b"\xff\xfe\x00"),
    "description is a list": lambda folder: (folder / DESCRIPTION).write_text("[]"),
    "no shape": lambda folder: rewrite(folder, "student"),
    "another shape": lambda folder: rewrite(folder, "student", "dim", to=64),
    "a shape of text": lambda folder: rewrite(folder, "student", to="tiny"),
    "outputs are a list": lambda folder: rewrite(folder, "outputs", to=[1]),
    "unknown output": lambda folder: rewrite(folder, "outputs", "smell", to=1),
    "unknown origin": lambda folder: rewrite(folder, "provenance", "smell", to=1),
    "origin is text": lambda folder: rewrite(folder, "provenance", to="mine"),
    "more classes": lambda folder: rewrite(folder, "outputs", "classes", to=["a", "b", "c", "d"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_sentence(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "student"
    save_student(student(), folder, PROVENANCE)
    DAMAGES[damage](folder)
    with pytest.raises(
        CheckpointError, match=r"student is not a whole student folder .*: distil it again"
    ) as e:
        load_student(folder)
    assert "\n" not in str(e.value)


def test_the_newest_run_is_taken_which_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="no student in any run"):
        newest_student(tmp_path)
    for name, age in (("b", 200), ("a", 100), ("c", 300)):
        save_student(student(), tmp_path / "runs" / name / "student", PROVENANCE)
        os.utime(tmp_path / "runs" / name / "student" / DESCRIPTION, (1000 - age, 1000 - age))
    assert newest_student(tmp_path / "runs") == tmp_path / "runs" / "a"
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    assert run_meant(Path("runs/c"), said.append) == Path("runs/c")
    assert said == []
    assert run_meant(None, said.append) == Path("runs/a")
    assert said == ["taking the newest run with a student, runs/a"]


def test_a_student_folder_is_of_a_run_unless_it_lies_elsewhere() -> None:
    assert run_of(Path("runs/owl/student")) == Path("runs/owl")
    assert run_of(Path("kept/owl")) == Path("kept/owl")
