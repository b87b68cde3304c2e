"""Exported students in the runtime: what `Embedder` gives is what the student gives in torch."""

import doctest
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import earkit.export.student as student_module
import earkit.runtime.embedder as embedder_module
from earkit.distill.distilled import DistilledStudent
from earkit.export.graph import token_head
from earkit.export.student import Exported, export_student
from earkit.runtime import Embedder
from earkit.runtime.model_file import Latency
from earkit.runtime.trial_sounds import sounds

CLIPS = sounds((0.1, 0.5, 3.0, 7.0))


@pytest.fixture(scope="module")
def embedder(exported: Exported) -> Embedder:
    return Embedder.load(exported.file, threads=1)


@pytest.fixture(scope="module")
def model(make_student: Callable[..., DistilledStudent]) -> DistilledStudent:
    """The student of `embedder`."""
    return make_student()


@torch.inference_mode()
def test_outputs_are_the_students(embedder: Embedder, model: DistilledStudent) -> None:
    vectors = embedder.embed(CLIPS, 16_000)
    short = embedder.embed(CLIPS, 16_000, dim=8)
    frames = embedder.embed(CLIPS, 16_000, output="frames")
    tokens = embedder.embed(CLIPS, 16_000, output="tokens")
    codes = embedder.embed(CLIPS, 16_000, output="sparse", k=5)
    scores = embedder.embed(CLIPS, 16_000, output="scores")
    assert model.sparse is not None
    assert model.classifier is not None
    for i, clip in enumerate(CLIPS):
        audio, lengths = torch.from_numpy(clip)[None], torch.tensor([len(clip)])
        wanted, valid = model.frames(audio, lengths)
        full = model.embed(audio, lengths)
        np.testing.assert_allclose(vectors[i], full[0], atol=1e-4)
        np.testing.assert_allclose(short[i], model.embed(audio, lengths, dim=8)[0], atol=1e-4)
        np.testing.assert_allclose(frames[i], wanted[0], atol=1e-4)
        logits = token_head(model, 1)(wanted)[0]
        np.testing.assert_array_equal(tokens[i], logits.argmax(-1))
        pooled = model.student.pool(wanted, valid)
        np.testing.assert_allclose(scores[i], model.classifier(pooled)[0], atol=1e-4)
        np.testing.assert_allclose(codes.dense()[i], model.sparse.dense(full, 5)[0], atol=1e-4)


def check_windows(file: Path) -> None:
    """Compare frames and tokens of 9 s, in windows of 2 s, with those of the graph for the whole."""
    (clip,) = sounds((9.0,), seed=3)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    whole = session.run(["frames", "tokens"], {"audio": clip[None], "lengths": np.array([len(clip)])})
    embedder = Embedder.load(file, threads=1)
    np.testing.assert_allclose(embedder.embed(clip, 16_000, output="frames"), whole[0][0], atol=1e-5)
    np.testing.assert_array_equal(embedder.embed(clip, 16_000, output="tokens"), whole[1][0])


def test_windows_of_convolutions_have_the_frames_of_the_whole(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder_module, "WINDOW_SECONDS", 2)
    check_windows(exported.file)


def test_windows_of_attention_have_the_frames_of_the_whole(
    make_student: Callable[..., DistilledStudent],
    save_run: Callable[[Path, DistilledStudent], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedder_module, "WINDOW_SECONDS", 2)
    monkeypatch.setattr(student_module, "verify", lambda *_: {})  # has tests of its own, and takes seconds
    monkeypatch.setattr(student_module, "_latency", lambda _: Latency(1.0, 1, 1.0))
    run = save_run(tmp_path / "owl", make_student("hybrid"))
    check_windows(export_student(run, outputs=("frames", "tokens")).file)


def test_the_examples(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    (tmp_path / "runs" / "owl").mkdir(parents=True)
    shutil.copy(exported.file, tmp_path / "runs" / "owl")
    for name, clip in zip(("clip.wav", "other.wav"), CLIPS, strict=False):
        soundfile.write(tmp_path / name, clip, 16_000)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(embedder_module)
    assert result.attempted >= 3
    assert result.failed == 0
