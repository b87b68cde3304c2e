"""The task teacher: its logits by hand, and what of it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from earkit.distill.task_teacher import STRENGTH, TaskLesson, TaskTeacher, save_finetuned
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
    """Moments of each layer without padding, beside a teacher of vectors; standardised over clips."""
    vectors = TeacherAtWork(Vectors(), tmp_path, CPU)  # type: ignore[arg-type]
    head = TaskTeacher([at_work, vectors], classes=4).eval()
    views = [
        TaskLesson(AUDIO, LENGTHS, torch.tensor([1, 0])),
        TaskLesson(-AUDIO, LENGTHS, torch.tensor([3, 2])),
    ]
    head.fit(views, 2)

    def heard(audio: Tensor) -> Tensor:
        rows = []
        for i, length in enumerate(LENGTHS):
            alone = audio[i : i + 1, :length]
            layers = at_work.teacher.features(alone, LENGTHS[i : i + 1], layers=[1, 2]).hidden
            moments = [x for k in (1, 2) for x in (layers[k][0].mean(0), layers[k][0].std(0, correction=0))]
            said = Vectors().features(alone, LENGTHS[i : i + 1], []).vector
            assert said is not None
            rows.append(torch.cat([*moments, said[0]]))
        return torch.stack(rows)

    fitted = torch.cat([heard(AUDIO), heard(-AUDIO)])
    sizes = [32, 32, 3]
    least = [part.std(correction=0) / 1000 for part in fitted.split(sizes, dim=1)]
    deviation = torch.maximum(
        fitted.std(0, correction=0), torch.stack(least).repeat_interleave(torch.tensor(sizes))
    )
    standard = (heard(AUDIO) - fitted.mean(0)) / deviation
    torch.testing.assert_close(head.logits(AUDIO, LENGTHS), head.classifier(standard), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_clips_of_one_frame_have_no_deviation_to_divide_by(at_work: TeacherAtWork) -> None:
    head = TaskTeacher([at_work], classes=2).eval()
    one = torch.full((2,), 480)
    head.fit([TaskLesson(AUDIO[:, :480], one, torch.tensor([1, 0]))], 2)
    assert head.logits(AUDIO[:, :480], one).argmax(1).tolist() == [1, 0]
    assert float(head.logits(AUDIO, LENGTHS).abs().max()) < 100


def test_the_head_is_the_logistic_regression_of_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    audio = (
        torch.from_numpy(rng.standard_normal((60, 400)).astype(np.float32))
        * torch.linspace(0.5, 2, 60)[:, None]
    )
    labels = torch.arange(60) // 20
    lengths = torch.randint(200, 400, (60,), generator=torch.Generator().manual_seed(0))
    head = TaskTeacher([TeacherAtWork(Vectors(), tmp_path, CPU)], classes=3).eval()  # type: ignore[arg-type]
    head.fit([TaskLesson(audio[k::2], lengths[k::2], labels[k::2]) for k in range(2)], 30)
    vectors = torch.cat(head.hear(audio, lengths), dim=1)
    standard = ((vectors - vectors.mean(0)) / vectors.std(0, correction=0)).numpy()
    strength = STRENGTH * 30 / 60 / 3  # of the sum over views, of vectors as long as they are
    theirs = LogisticRegression(C=strength, tol=1e-6, max_iter=1000).fit(standard, labels.numpy())
    mine = head.logits(audio, lengths).softmax(1).detach().numpy()
    np.testing.assert_allclose(mine, theirs.predict_proba(standard), atol=1e-3)


def grade(head: TaskTeacher) -> float:
    graded = head(TaskLesson(AUDIO, LENGTHS, torch.tensor([1, 0])))
    graded.loss_sum.backward()
    return float(graded.loss_sum.detach())


def test_a_frozen_teacher_stays_and_a_finetuned_one_learns_without_dropout(at_work: TeacherAtWork) -> None:
    head = TaskTeacher([at_work], classes=2).train()
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
        TaskTeacher([vectors], classes=2).finetune()
