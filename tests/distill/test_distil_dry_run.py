"""The dry run of a distillation, against a count by hand and a clock that is given."""

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from earkit.distill import distil_dry_run
from earkit.distill.distil_dry_run import dry_run, multiply_adds
from earkit.distill.distillation import DistilConfig, distil_config
from earkit.distill.student import Student, StudentConfig
from earkit.runtime.errors import TeacherNotFoundError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("student.size=custom", "student.dim=32", "student.depth=2", "data.batch_seconds=16")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("teacher")
    small = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16,) * 7,
        feat_extract_norm="layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(small).save_pretrained(folder)
    return str(folder)


def configure(teacher: str, *sets: str) -> DistilConfig:
    return distil_config("general", teachers=[teacher], overrides=[*SMALL, *sets])


@pytest.mark.parametrize(("dim", "depth"), [(32, 1), (64, 3)])
def test_multiply_adds_are_those_of_a_count_by_hand(dim: int, depth: int) -> None:
    student = Student(StudentConfig(size="custom", dim=dim, depth=depth))
    frames, windows = 100, 404  # of 4 s; the last few windows lie behind the audio
    fourier = 402 * 400 * windows  # cosine and sine of 201 bins, each of 400 samples
    mel = 80 * 201 * 4 * frames
    stem = dim * 80 * 8 * frames
    block = (7 * dim + 2 * dim * 2 * dim) * frames  # depthwise kernel of 7, twice as wide and back
    counted = multiply_adds(student, torch.zeros(1, 64_000))
    assert counted == fourier + mel + stem + depth * block


def test_a_plan_is_that_of_the_student_and_its_teacher(teacher: str) -> None:
    plan = dry_run(configure(teacher, "steps=50"))
    student = Student(configure(teacher).student)
    assert plan.parameters == sum(p.numel() for p in student.parameters())
    assert plan.multiply_adds_per_second * 4 == multiply_adds(student, torch.zeros(1, 64_000))
    # Two kernels that look 3 frames ahead, and 480 samples in which the stem and its windows do.
    assert plan.lookahead_ms == 2 * 3 * 40 + 30
    assert plan.context_seconds == pytest.approx(2 * 3 * 0.04)
    assert plan.teachers.keys() == {teacher}
    assert plan.teachers[teacher] > 1  # many times faster than time passes
    assert plan.timed_step_seconds > 0
    assert (plan.steps, plan.hours) == (50, pytest.approx(50 * plan.timed_step_seconds / 3600))
    assert "custom, 2 blocks (convolution) of width 32" in plan.student


def test_a_step_is_scaled_from_the_seconds_that_were_timed(
    teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clips of 4 s take 0.5 s, so 16 s twice take 2 s, and an hour has room for 1800 steps."""
    monkeypatch.setattr(distil_dry_run, "_timed", lambda *_: 0.5)
    monkeypatch.setattr(distil_dry_run, "_timed_teacher", lambda *_: 0.25)
    plan = dry_run(configure(teacher, "optim.accumulate=2", "hours=1"))
    assert (plan.audio_seconds_per_step, plan.timed_step_seconds) == (32, 2)
    assert (plan.steps, plan.hours) == (1800, 1)
    assert plan.teachers == {teacher: 32}


def test_a_teacher_that_is_not_there_is_said() -> None:
    with pytest.raises(TeacherNotFoundError, match="there is no teacher nobody"):
        dry_run(configure("nobody"))
