"""A student as a teacher gives another student exactly what it has itself."""

from pathlib import Path

import pytest
import torch

from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.student import StudentConfig
from earkit.distill.teachers.resolve import load_teacher_by_name
from earkit.distill.teachers.student_teacher import StudentTeacher
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.trace import Needs
from earkit.runtime.errors import ConfigError

LENGTHS = torch.tensor([16_000, 641, 9_999])


def student(codebooks: int = 2) -> DistilledStudent:
    torch.manual_seed(0)
    config = StudentConfig(size="custom", dim=32, depth=2, bands=20, embedding_dim=16)
    return DistilledStudent(config, Outputs(codebooks=codebooks, codebook_size=5)).eval()


def clips() -> torch.Tensor:
    torch.manual_seed(1)
    return 0.1 * torch.randn(3, 16_000) * (torch.arange(16_000) < LENGTHS[:, None])


def test_targets_are_the_students_own_frames_and_codes() -> None:
    model = student()
    work = TeacherAtWork(StudentTeacher("old", model), Path(), torch.device("cpu"))
    targets = work.live(clips(), LENGTHS, Needs(frozenset({0, 1, 2}), codes=True))
    with torch.no_grad():
        trace = model.student(clips(), LENGTHS)
        assert model.token_head is not None
        logits = model.token_head(trace.hidden[-1]).unflatten(-1, (2, 5))
    assert torch.equal(targets.valid, trace.valid)
    for k in range(3):
        assert torch.allclose(targets.hidden[k], trace.hidden[k], atol=1e-6)
    assert targets.codes is not None
    expected = logits.softmax(-1).permute(2, 0, 1, 3)
    assert torch.allclose(targets.codes.exp()[:, trace.valid], expected[:, trace.valid], atol=1e-6)


def test_a_run_or_folder_of_a_student_is_found_by_name(tmp_path: Path) -> None:
    save_student(student(), tmp_path / "run" / "student", Provenance())
    for place in ("run", "run/student"):
        found, folder = load_teacher_by_name(tmp_path / place)
        assert folder == tmp_path / "run" / "student"
        assert (found.layers, found.dim, found.attention_heads) == (2, 32, 0)
        assert found.info().family == "student"
        work = TeacherAtWork(found, folder, torch.device("cpu"))
        shape = work.shape(8, 1, ((1, 2),))
        assert (shape.codebooks, shape.codebook_size, shape.teacher_layers) == (2, 5, 2)


def test_what_a_student_has_not_is_refused() -> None:
    teacher = StudentTeacher("old", student(codebooks=0))
    for wrong in ({"layers": [3]}, {"codes": True}, {"ffn": [1]}, {"attention": [1]}):
        with pytest.raises(ConfigError, match="old is a student: as a teacher it gives layers 0 to 2, and"):
            teacher.features(clips(), LENGTHS, **wrong)
