"""An exported student against the one in torch, and what export refuses."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from earkit.distill.distilled import DistilledStudent, load_student
from earkit.distill.student import StudentConfig
from earkit.export.student import Exported, export_student, reach
from earkit.runtime.errors import CheckpointError, ConfigError, StorageError
from earkit.runtime.model_file import read_model_file

MakeStudent = Callable[..., DistilledStudent]
SaveRun = Callable[[Path, DistilledStudent], Path]
LENGTHS = [16_000, 1, 8_321, 640]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Clips with rubbish behind their ends, and more of it than the longest needs."""
    audio = np.random.default_rng(0).standard_normal((4, 20_000)).astype(np.float32) / 20
    return audio, np.array(LENGTHS)


def run_file(file: Path, audio: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"audio": audio, "lengths": lengths}), strict=True))


def test_the_file_gives_what_the_student_gives(run: Path, exported: Exported) -> None:
    audio, lengths = batch()
    given = run_file(exported.file, audio, lengths)
    model, _ = load_student(run)
    assert model.sparse is not None
    assert model.classifier is not None
    with torch.inference_mode():
        for i, n in enumerate(LENGTHS):
            clip, one = torch.from_numpy(audio[i : i + 1, :n]), torch.tensor([n])
            frames, valid = model.frames(clip, one)
            time = -(-n // 640)
            assert given["frame_lengths"][i] == frames.shape[1] == time
            np.testing.assert_allclose(given["frames"][i, :time], frames[0], atol=1e-4)
            assert (given["frames"][i, time:] == 0).all()
            assert given["tokens"][i].tolist() == model.tokens(frames)[1, 0].tolist() + [-1] * (32 - time)
            embedding = model.embed(clip, one)
            np.testing.assert_allclose(given["embedding"][i], embedding[0], atol=1e-4)
            indices, values = model.sparse.encode(embedding, 5)
            assert given["sparse_indices"][i, :5].tolist() == indices[0].tolist()
            np.testing.assert_allclose(given["sparse_values"][i, :5], values[0], atol=1e-4)
            scores = model.classifier(model.student.pool(frames, valid))
            np.testing.assert_allclose(given["scores"][i], scores[0], atol=1e-4)


def test_a_clip_does_not_depend_on_its_batch(exported: Exported) -> None:
    audio, lengths = batch()
    together = run_file(exported.file, audio, lengths)
    for i, n in enumerate(LENGTHS):
        alone = run_file(exported.file, audio[i : i + 1, :n], lengths[i : i + 1])
        time = alone["frames"].shape[1]
        for name in ("embedding", "scores", "sparse_values"):
            np.testing.assert_allclose(together[name][i], alone[name][0], atol=1e-4)
        np.testing.assert_allclose(together["frames"][i, :time], alone["frames"][0], atol=1e-4)
        assert (together["tokens"][i, :time] == alone["tokens"][0]).all()


def test_the_file_explains_itself(run: Path, exported: Exported) -> None:
    info = read_model_file(exported.file)
    assert info == exported.info
    assert exported.file == run / "owl.onnx"
    assert exported.card == run / "owl.md"
    assert exported.card.read_text(encoding="utf-8") == info.card
    beside = {each.name for each in run.iterdir() if not each.name.startswith("owl-stream")}
    assert beside == {"owl.md", "owl.onnx", "student"}
    weights = (run / "student" / "student.safetensors").read_bytes()
    assert info.parent_sha256 == hashlib.sha256(weights).hexdigest()
    assert (info.name, info.teachers, info.data, info.licences) == ("owl", ("ear",), "clips.csv", ("CC0",))
    assert info.quality == {"words": 0.75}
    assert (info.sample_rate, info.hop, info.dim, info.dims, info.frame_dim) == (16_000, 640, 16, (8, 16), 32)
    assert info.tokens is not None
    assert (info.tokens.codebook, info.tokens.codebooks, info.tokens.size) == (1, 2, 10)
    assert info.sparse is not None
    assert (info.sparse.width, info.sparse.k, info.sparse.k_min, info.sparse.k_max) == (48, 8, 4, 12)
    assert info.classes == ("dog", "cat", "owl")
    assert set(info.drift) == {"embedding", "frames", "frame_lengths", "tokens", "sparse_values", "scores"}
    assert all(0 <= value <= 1e-4 for value in info.drift.values())
    assert info.latency[0].milliseconds > 0
    assert abs(info.megabytes * 1e6 - exported.file.stat().st_size) < 20_000
    assert "onnxruntime" in info.versions


def test_reach_is_what_the_student_says_and_less_where_it_is_left_early() -> None:
    for block in ("convolution", "attention", "hybrid"):
        config = StudentConfig(size="micro", block=block)  # type: ignore[arg-type]
        back, ahead = reach(config, config.depth)
        assert ahead == config.lookahead
        assert back == config.context_frames * 640 + 320 + 80
        assert reach(config, 1)[1] < ahead


def left(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.name != "student")


def test_a_graph_that_drifts_is_not_written(
    tmp_path: Path, make_student: MakeStudent, save_run: SaveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_run(tmp_path / "run", make_student())
    (run / "run.onnx").write_text("the one before")

    def refuse(*_: object) -> None:
        raise CheckpointError("frames of the exported graph is off")

    monkeypatch.setattr("earkit.export.student.clip_graph", lambda *_: None)
    monkeypatch.setattr("earkit.export.student.verify", refuse)
    with pytest.raises(CheckpointError, match="is off"):
        export_student(run)
    assert left(run) == ["run.onnx"]
    assert (run / "run.onnx").read_text() == "the one before"


def test_a_damaged_student_is_refused(tmp_path: Path, make_student: MakeStudent, save_run: SaveRun) -> None:
    run = save_run(tmp_path / "run", make_student())
    weights = run / "student" / "student.safetensors"
    whole = load_file(weights)
    first = next(name for name, each in whole.items() if each.is_floating_point())
    save_file({name: each for name, each in whole.items() if name != first}, weights)
    with pytest.raises(CheckpointError, match="not a whole student folder"):
        export_student(run)
    save_file({**whole, first: torch.full_like(whole[first], torch.nan)}, weights)
    with pytest.raises(CheckpointError, match=f"{first} of the student in .* is not finite"):
        export_student(run)
    (run / "student" / "student.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a whole student folder"):
        export_student(run)
    assert left(run) == []


def test_an_output_that_cannot_be_is_refused_before_any_work(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give --out .*owl\.onnx, not .*owl\.bin"):
        export_student(run, tmp_path / "owl.bin")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write"):
        export_student(run, tmp_path / "file" / "owl.onnx")
    with pytest.raises(CheckpointError, match="there is no student"):
        export_student(tmp_path)
    with pytest.raises(ConfigError, match="gives no smell"):
        export_student(run, outputs=["smell"])
