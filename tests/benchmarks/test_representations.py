"""Adapters against what they adapt; frames stand where they say they do."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earkit.benchmarks.representations import FLOORS, Representation, load, of_teacher, remembering
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.student import StudentConfig
from earkit.distill.teachers.huggingface import TeacherFrames
from earkit.export.student import export_student
from earkit.runtime.errors import ConfigError, TeacherNotFoundError

CLIP = np.random.default_rng(0).uniform(-0.3, 0.3, 12_345).astype(np.float32)


@pytest.fixture(scope="module")
def student() -> DistilledStudent:
    torch.manual_seed(0)
    config = StudentConfig(
        size="custom", dim=32, depth=2, heads=2, kernel=5, kernel_ahead=2, embedding_dim=16
    )
    return DistilledStudent(config, Outputs(codebooks=2, codebook_size=10)).eval()


@pytest.fixture(scope="module")
def run(student: DistilledStudent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "owl"
    save_student(student, folder / "student", Provenance())
    return folder


@pytest.mark.parametrize("name", list(FLOORS))
def test_a_click_is_in_the_frame_that_is_nearest_to_it(name: str) -> None:
    floor = load(name)
    for place in (950, 4000, 9123):
        samples = np.zeros(16_000, np.float32)
        samples[place] = 1.0
        (frames,) = floor.frames(samples).values()
        assert abs(frames[:, 0]).max() > 0
        assert frames[:, 0].argmax() == floor.frame_at(np.array([place]), len(frames))[0]


def test_places_beyond_the_frames_take_the_outermost() -> None:
    at = Representation("r", hop=100, first_centre=50).frame_at(np.array([-500, 0, 99, 101, 5000]), 7)
    assert at.tolist() == [0, 0, 0, 1, 6]


def test_a_student(student: DistilledStudent, run: Path) -> None:
    made = load(str(run))
    audio, length = torch.from_numpy(CLIP)[None], torch.tensor([len(CLIP)])
    with torch.no_grad():
        trace, embedding = student.student(audio, length), student.embed(audio, length)
        tokens = student.tokens(trace.hidden[-1])[-1, 0]
    frames = made.frames(CLIP)
    assert list(frames) == ["layer 0", "layer 1", "layer 2"]
    np.testing.assert_allclose(frames["layer 2"], trace.hidden[2][0], atol=1e-5)
    np.testing.assert_allclose(made.vector(CLIP), embedding[0], atol=1e-5)
    assert made.tokens(CLIP).tolist() == tokens.tolist()
    assert (made.hop, made.first_centre) == (640, 360)


def test_a_model_file_equals_its_student(run: Path) -> None:
    exported = export_student(run)
    of_file, of_torch = load(str(exported.file)), load(str(run))
    np.testing.assert_allclose(of_file.vector(CLIP), of_torch.vector(CLIP), atol=1e-4)
    (frames,) = of_file.frames(CLIP).values()
    np.testing.assert_allclose(frames, of_torch.frames(CLIP)["layer 2"], atol=1e-3)
    assert (of_file.tokens(CLIP) == of_torch.tokens(CLIP)).mean() > 0.95
    assert (of_file.hop, of_file.first_centre) == (of_torch.hop, of_torch.first_centre)


def teacher(**changes: object) -> SimpleNamespace:
    def features(audio, lengths, layers=None, *, codes=False):
        assert audio.shape == (1, int(lengths[0]))
        return TeacherFrames(lengths, {}, vector=audio[:, :3])

    kept = {"name": "t", "sample_rate": 16_000, "layers": 0, "hop": 0, "first_centre": 0, "dinosr": None}
    return (
        SimpleNamespace(**kept, features=features) if not changes else SimpleNamespace(**{**kept, **changes})
    )


def test_a_teacher_of_vectors_has_no_frames() -> None:
    made = of_teacher(teacher())
    assert made.frames is None
    assert made.tokens is None
    assert made.vector(CLIP).tolist() == CLIP[:3].tolist()


def test_another_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="t takes audio at 8000 Hz"):
        of_teacher(teacher(sample_rate=8000))


def test_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    with pytest.raises(TeacherNotFoundError, match="no teacher owl_of_nowhere"):
        load("owl_of_nowhere")


def test_a_clip_that_is_remembered_is_heard_once() -> None:
    heard: list[tuple[str, int]] = []

    def frames(samples: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        heard.append(("frames", len(samples)))
        return {"layer 1": samples[:50, None]}  # 200 bytes

    def vector(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        heard.append(("vector", len(samples)))
        return samples[:25]  # 100 bytes

    made = remembering(Representation("r", frames, 320.0, 0.0, vector), most=500)
    one, other = CLIP[:1000], CLIP[:2000]
    for clip in (one, one.copy(), other, one + 1, one, other, one + 1):
        np.testing.assert_array_equal(made.frames(clip)["layer 1"], clip[:50, None])
        np.testing.assert_array_equal(made.vector(clip), clip[:25])
    # Two clips' frames and the vector of one fill 500 bytes; what came later is heard each time.
    assert [length for kind, length in heard if kind == "frames"] == [1000, 2000, 1000, 1000]
    assert [length for kind, length in heard if kind == "vector"] == [1000, 2000, 1000, 2000, 1000]
    assert made.tokens is None
    assert (made.hop, made.name) == (320.0, "r")
