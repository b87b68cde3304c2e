"""`kit embed` as a person runs it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from earkit.cli.embed import embed
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError, DataError


def kit(verb: Callable[..., None], *arguments: object) -> Any:
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three sounds, the second at 8 kHz, something else, and a format that is not read."""
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, rate in (("b.wav", 16_000), ("deep/a.flac", 8_000), ("c.wav", 16_000)):
        soundfile.write(folder / name, rng.uniform(-0.5, 0.5, 4000), rate)
    (folder / "notes.txt").write_text("no sound")
    (folder / "d.m4a").write_bytes(b"")
    return folder


NAMES = ["b.wav", "c.wav", "deep/a.flac"]


def test_without_a_file_it_prints_lines(clips: Path, clip_model: Path) -> None:
    ended = kit(embed, clips, "--model", clip_model, "--dim", 2)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["file"] for line in lines] == NAMES
    wanted = Embedder.load(clip_model).embed([clips / name for name in NAMES], dim=2)
    np.testing.assert_allclose([line["embedding"] for line in lines], wanted, atol=1e-6)
    assert "not taken, a format that cannot be read: 1 .m4a" in ended.stderr
    assert "3 files, 1.0 s of audio; 1 resampled\n" in ended.stderr


def test_without_a_model_it_is_the_one_that_comes_with_earkit(clips: Path) -> None:
    ended = kit(embed, clips / "b.wav")
    wanted = Embedder.load("tiny").embed(clips / "b.wav")
    np.testing.assert_allclose(json.loads(ended.stdout)["embedding"], wanted, atol=1e-6)
    assert ended.stderr.startswith("1 file, ")


def test_into_a_file(clips: Path, clip_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    ended = kit(embed, clips, clips / "b.wav", "--model", clip_model, "-o", out)
    assert ended.stdout == f"{out}\n"
    assert "files named more than once are taken once: 1" in ended.stderr
    assert "embedding: 3 of 3\n3 files, 1.0 s of audio; 1 resampled\n" in ended.stderr
    with np.load(out) as file:
        assert file["files"].tolist() == NAMES
        assert file["embedding"].shape == (3, 4)


def test_every_output(clips: Path, clip_model: Path, tmp_path: Path) -> None:
    for output, name in (("frames", "frames"), ("sparse", "sparse_values"), ("scores", "scores")):
        kit(embed, clips, "--model", clip_model, "--output", output, "-o", tmp_path / "out.npz")
        with np.load(tmp_path / "out.npz") as file:
            assert name in file
    kit(embed, clips, "--model", clip_model, "--output", "sparse", "--k", 3, "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        assert file["sparse_values"].shape == (3, 3)


def test_what_cannot_be_used_ends_it_or_is_left_out(clips: Path, clip_model: Path, tmp_path: Path) -> None:
    (clips / "c.wav").write_text("no sound")
    out = tmp_path / "out.jsonl"
    for more in ([], ["-o", out]):
        with pytest.raises(AudioError, match=r"c\.wav is damaged or not audio"):
            kit(embed, clips, "--model", clip_model, *more)
    assert not out.exists()
    ended = kit(embed, clips, "--model", clip_model, "--on-error", "skip")
    assert [json.loads(line)["file"] for line in ended.stdout.splitlines()] == ["b.wav", "deep/a.flac"]
    assert "left out: " in ended.stderr
    ended = kit(embed, clips, "--model", clip_model, "--on-error", "skip", "-o", out, "--json")
    answer = json.loads(ended.stdout)
    assert (answer["out"], answer["model"], answer["embedded"]) == (str(out), str(clip_model), 2)
    assert list(answer["skipped"]) == ["c.wav"]
    assert "2 files, 0.8 s of audio; 1 resampled; 1 left out" in ended.stderr
    assert out.read_text() == kit(embed, clips, "--model", clip_model, "--on-error", "skip").stdout


def test_nothing_that_can_be_used_is_an_error(clips: Path, clip_model: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (clips / name).write_text("no sound")
    for more in ([], ["-o", tmp_path / "out.npz"]):
        with pytest.raises(DataError, match=r"none of the 3 files can be embedded; the first: .*b\.wav"):
            kit(embed, clips, "--model", clip_model, "--on-error", "skip", *more)


def test_refusals_come_before_any_work(clips: Path, clip_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of them"):
        kit(embed, clips, "--model", "nowhere", "-o", tmp_path / "out.csv")
    with pytest.raises(DataError, match="there is nothing at gone"):
        kit(embed, "gone", "--model", "nowhere")
    with pytest.raises(CheckpointError, match="there is no model nowhere"):
        kit(embed, clips, "--model", "nowhere")
    with pytest.raises(ConfigError, match="take dim 2 or 4"):
        kit(embed, clips, "--model", clip_model, "--dim", 3)
