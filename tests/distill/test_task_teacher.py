"""The task teacher: its logits by hand, and what of it learns."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from earkit.distill.task_teacher import TaskLesson, TaskTeacher, save_finetuned
from earkit.distill.teachers.huggingface import Teacher, TeacherFrames, load
from earkit.distill.teaching import TeacherAtWork
from earkit.runtime.errors import ConfigError

LENGTHS = torch.tensor([6400, 3000])
AUDIO = torch.randn(2, 6400, generator=torch.Generator().manual_seed(0)) * (
    torch.arange(6400) < LENGTHS[:, None]
)
CPU = torch.device("cpu")


@pytest.fixture
def at_work(tmp_path: Path) -> TeacherAtWork:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        hidden_dropout=0.5,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "teacher")
    return TeacherAtWork(load(tmp_path / "teacher"), tmp_path / "teacher", CPU)


class Vectors:
    """An ONNX embedder, as it were, that gives one vector for each clip."""

    name, layers, dim, hop, first_centre = "vectors", 0, 3, 160.0, 0.0

    def to(self, device: torch.device) -> "Vectors":
        return self

    def features(self, audio: Tensor, lengths: Tensor, layers: list[int]) -> TeacherFrames:
        assert layers == []
        sums = torch.stack([audio.sum(1), audio.square().sum(1), lengths.float()], dim=1)
        return TeacherFrames(lengths=torch.zeros_like(lengths), vector=sums)


@torch.no_grad()
def test_logits_by_hand(at_work: TeacherAtWork, tmp_path: Path) -> None:
    """Mixture of standardised layers, pooled without padding, beside a teacher of vectors."""
    vectors = TeacherAtWork(Vectors(), tmp_path, CPU)  # type: ignore[arg-type]
    head = TaskTeacher([at_work, vectors], classes=4, dropout=0.5).eval()
    head.calibrate([TaskLesson(AUDIO, LENGTHS, torch.tensor([1, 0]))])
    head.hearings[0].mixture.copy_(torch.tensor([1.0, -0.5]))
    pooled, other = head.hear(AUDIO, LENGTHS)
    valid = pooled.valid
    shares = torch.tensor([1.0, -0.5]).exp() / torch.tensor([1.0, -0.5]).exp().sum()
    frames = 0.0
    for share, k in zip(shares, (1, 2), strict=True):
        rows = pooled.hidden[k][valid]
        frames = frames + share * (pooled.hidden[k] - rows.mean(0)) / rows.std(0, correction=0)
    pooling = head.hearings[0].pooling
    vector = other.vector
    assert vector is not None
    for i in range(2):
        mine = frames[i][valid[i]]
        pooled_alone = pooling(mine[None], torch.ones(1, len(mine), 1))[0]
        said = (vector[i] - vector.mean(0)) / vector.std(0, correction=0).clamp(
            min=1e-3 * float(vector.std(correction=0))
        )
        heard = torch.cat([pooled_alone, said])
        logits = head.logits(AUDIO, LENGTHS)[i]
        torch.testing.assert_close(logits, head.classifier(heard), rtol=1e-3, atol=1e-4)
    alone = head.logits(AUDIO[1:, :3000], LENGTHS[1:])
    torch.testing.assert_close(alone, head.logits(AUDIO, LENGTHS)[1:], rtol=1e-4, atol=1e-4)


def grade(head: TaskTeacher) -> float:
    graded = head(TaskLesson(AUDIO, LENGTHS, torch.tensor([1, 0])))
    graded.loss_sum.backward()
    return float(graded.loss_sum.detach())


def test_a_frozen_teacher_stays_and_a_finetuned_one_learns_without_dropout(at_work: TeacherAtWork) -> None:
    head = TaskTeacher([at_work], classes=2, dropout=0.0).train()
    before = set(head.state_dict())
    grade(head)
    assert all(p.grad is None for p in at_work.teacher.model.parameters())  # type: ignore[union-attr]
    head.finetune()
    head.train()
    assert grade(head) == grade(head)
    learning = [name for name, p in at_work.teacher.model.named_parameters() if p.grad is not None]  # type: ignore[union-attr]
    assert learning
    assert all(name.startswith("encoder.") for name in learning)
    assert len(set(head.state_dict()) - before) == len(at_work.teacher.model.encoder.state_dict())  # type: ignore[union-attr]


def test_finetuned_teachers_are_kept_as_teachers(at_work: TeacherAtWork, tmp_path: Path) -> None:
    assert isinstance(at_work.teacher, Teacher)
    with torch.no_grad():
        at_work.teacher.model.encoder.layers[0].feed_forward.output_dense.bias += 1
    save_finetuned(at_work, tmp_path / "kept")
    again = load(tmp_path / "kept")
    mine, theirs = (t.features(AUDIO, LENGTHS).hidden[2] for t in (at_work.teacher, again))
    torch.testing.assert_close(mine, theirs)
    assert not torch.equal(theirs, load(at_work.folder).features(AUDIO, LENGTHS).hidden[2])
    save_finetuned(at_work, tmp_path / "kept")


def test_onnx_teachers_cannot_be_finetuned(tmp_path: Path) -> None:
    vectors = TeacherAtWork(Vectors(), tmp_path, CPU)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"teacher vectors is an ONNX model.*finetune_steps=0"):
        TaskTeacher([vectors], classes=2, dropout=0.0).finetune()
