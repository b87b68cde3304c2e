"""What the benchmarks of distillation train is kept, as long as the same is asked for."""

from pathlib import Path

import pytest

from earkit.benchmarks.distilled import student_run
from earkit.distill.speech.synthetic_corpus import write_corpus

SMALL = [
    *("steps=1", "data.workers=0", "data.batch_seconds=8", "student.size=custom", "student.dim=32"),
    *("student.depth=1", "losses.stella.weight=0", "losses.codes.weight=0", "losses.relations.weight=0"),
    "losses.tinybert.weight=0",
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("c") / "corpus", minutes=1, speakers=4, seed=0)


def test_a_student_is_trained_once_and_again_by_other_settings(tmp_path: Path, manifest: Path) -> None:
    def weights(*overrides: str) -> tuple[bytes, int]:
        run = student_run(
            tmp_path, "one", 0, manifest, teachers=[], student=None, overrides=[*SMALL, *overrides]
        )
        file = run / "student" / "student.safetensors"
        return file.read_bytes(), file.stat().st_mtime_ns

    first = weights()
    assert weights() == first
    other = weights("optim.lr=0.01")
    assert other[0] != first[0]
    assert (tmp_path / "seed0" / "one.1" / "student" / "student.safetensors").read_bytes() == first[0]
