"""Embedding a corpus: what is written, and that interruptions change no byte of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earkit.runtime import corpus_run
from earkit.runtime.corpus_run import Tally, embed_corpus
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, DataError, StorageError


@pytest.fixture(scope="module")
def embedder(clip_model: Path) -> Embedder:
    return Embedder.load(clip_model, threads=1)


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, Path]:
    """Ten files; the third is stereo at 8 kHz, the fourth reaches beyond full scale."""
    rng = np.random.default_rng(0)
    made = {}
    for i in range(10):
        path = tmp_path / f"{i}.wav"
        x = rng.uniform(-0.5, 0.5, (2000 + 100 * i, 2 if i == 2 else 1)) * (3 if i == 3 else 1)
        soundfile.write(path, x, 8000 if i == 2 else 16_000, subtype="FLOAT")
        made[path.name] = path
    return made


@pytest.fixture(autouse=True)
def parts_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_run, "PART_FILES", 3)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".wav")


def test_a_corpus_becomes_one_file(embedder: Embedder, sounds: dict[str, Path], tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    tally = embed_corpus(
        embedder, sounds, tmp_path / "out.npz", dim=2, progress=lambda *done: heard.append(done)
    )
    assert tally == Tally(10, pytest.approx((sum(range(20, 30)) + 22) * 100 / 16_000), 1, 1, 1)
    assert heard == [(i, 10) for i in range(1, 11)]
    with np.load(tmp_path / "out.npz") as file:
        assert file["files"].tolist() == list(sounds)
        np.testing.assert_allclose(file["embedding"], embedder.embed(list(sounds.values()), dim=2), atol=1e-6)
        about = json.loads(str(file["about"]))
    assert (about["model"], about["output"], about["dim"], about["skipped"]) == (
        "loudness",
        "embedding",
        2,
        [],
    )
    assert str(tmp_path) not in json.dumps(about)
    assert left(tmp_path) == ["out.npz"]


def test_a_matrix_has_its_files_beside_it(
    embedder: Embedder, sounds: dict[str, Path], tmp_path: Path
) -> None:
    embed_corpus(embedder, sounds, tmp_path / "deep" / "er" / "out.npy")
    assert np.load(tmp_path / "deep" / "er" / "out.npy").shape == (10, 4)
    assert json.loads((tmp_path / "deep" / "er" / "out.files.json").read_text()) == list(sounds)


@pytest.mark.parametrize("bad", [0, 4, 9])
def test_a_file_that_cannot_be_used(
    embedder: Embedder, sounds: dict[str, Path], tmp_path: Path, bad: int
) -> None:
    out = tmp_path / "out.npz"
    sounds[f"{bad}.wav"].write_bytes(b"no sound")
    with pytest.raises(AudioError, match=f"{bad}.wav is damaged or not audio"):
        embed_corpus(embedder, sounds, out)
    assert not out.exists()
    tally = embed_corpus(embedder, sounds, out, on_error="skip")
    assert (tally.embedded, list(tally.skipped)) == (9, [f"{bad}.wav"])
    assert "damaged or not audio" in tally.skipped[f"{bad}.wav"]
    with np.load(out) as file:
        assert file["files"].tolist() == [name for name in sounds if name != f"{bad}.wav"]
        assert len(file["embedding"]) == 9
        assert json.loads(str(file["about"]))["skipped"] == [f"{bad}.wav"]


def test_what_was_skipped_before_still_fails_when_asked_to(
    embedder: Embedder, sounds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds["1.wav"].write_bytes(b"no sound")
    monkeypatch.setattr(corpus_run, "_finish", _stop)
    with pytest.raises(Stopped):
        embed_corpus(embedder, sounds, tmp_path / "out.npz", on_error="skip")
    with pytest.raises(AudioError, match=r"1.wav is damaged"):
        embed_corpus(embedder, sounds, tmp_path / "out.npz")


def test_when_no_file_can_be_used(embedder: Embedder, sounds: dict[str, Path], tmp_path: Path) -> None:
    for path in sounds.values():
        path.unlink()
    with pytest.raises(DataError, match=r"none of the 10 files can be embedded; the first: .*No such file"):
        embed_corpus(embedder, sounds, tmp_path / "out.npz", on_error="skip")


class Stopped(Exception):  # noqa: N818 - no error
    """Stands for the end of the process."""


def _stop(*_: Any, **__: Any) -> None:
    raise Stopped


@pytest.mark.parametrize("done", [0, 1, 2, 3, 4])
def test_an_interrupted_run_is_taken_over(
    embedder: Embedder,
    sounds: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    done: int,
) -> None:
    out, whole = tmp_path / "out.npz", tmp_path / "whole.npz"
    total = embed_corpus(embedder, sounds, whole)
    embed, finish, parts = corpus_run._embed, corpus_run._finish, iter(range(done))

    def some(*arguments: Any, **options: Any) -> Tally:
        return embed(*arguments, **options) if next(parts, None) is not None else _stop() or Tally()

    monkeypatch.setattr(corpus_run, "_embed", some)
    monkeypatch.setattr(corpus_run, "_finish", _stop)
    with pytest.raises(Stopped):
        embed_corpus(embedder, sounds, out)
    assert not out.exists()
    monkeypatch.setattr(corpus_run, "_finish", finish)
    again: list[Any] = []
    monkeypatch.setattr(corpus_run, "_embed", lambda *a, **o: again.append(a) or embed(*a, **o))
    said: list[str] = []
    assert embed_corpus(embedder, sounds, out, say=said.append) == total
    assert len(again) == 4 - done
    assert said == ([f"going on where an earlier run stopped: {done} of 4 parts are done"] if done else [])
    assert out.read_bytes() == whole.read_bytes()
    assert left(tmp_path) == sorted([out.name, whole.name])


@pytest.mark.parametrize("change", ["sound", "dim", "damage"])
def test_parts_that_would_be_wrong_are_not_taken(
    embedder: Embedder, sounds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    out = tmp_path / "out.npz"
    finish = corpus_run._finish
    monkeypatch.setattr(corpus_run, "_finish", _stop)
    with pytest.raises(Stopped):
        embed_corpus(embedder, sounds, out)
    monkeypatch.setattr(corpus_run, "_finish", finish)
    dim = 2 if change == "dim" else None
    if change == "sound":
        soundfile.write(sounds["0.wav"], np.linspace(0, 0.5, 2000), 16_000, subtype="FLOAT")
    if change == "damage":
        for part in (tmp_path / ".out.npz.parts").iterdir():
            part.write_bytes(part.read_bytes()[:300])
    embed_corpus(embedder, sounds, out, dim=dim)
    with np.load(out) as file:
        np.testing.assert_allclose(
            file["embedding"], embedder.embed(list(sounds.values()), dim=dim), atol=1e-6
        )


def test_a_large_file_ends_a_part(
    embedder: Embedder, sounds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_run, "PART_BYTES", sounds["0.wav"].stat().st_size)
    assert [len(part) for part in corpus_run._parts(sounds)] == [1] * 10


def test_where_nothing_can_be_written(embedder: Embedder, sounds: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write"):
        embed_corpus(embedder, sounds, tmp_path / "file" / "out.npz")
    (tmp_path / "out.npz").mkdir()
    with pytest.raises(StorageError, match=r"could not write .*out.npz: Is a directory"):
        embed_corpus(embedder, sounds, tmp_path / "out.npz")


SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
from earkit.runtime import corpus_run
from earkit.runtime.embedder import Embedder

corpus_run.PART_FILES = 1
model, whole, out, *paths = map(Path, sys.argv[1:])
random.seed(0)


def embed(out, seconds=None):
    child = os.fork()  # before a session has threads
    if not child:
        embedder = Embedder.load(model, threads=1)
        corpus_run.embed_corpus(embedder, {path.name: path for path in paths}, out)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


began = time.monotonic()
assert embed(whole) == 0
took = time.monotonic() - began
print(sum(embed(out, random.uniform(0, took)) == signal.SIGKILL for _ in range(10)))
assert embed(out) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed process is a fork")
def test_killed_at_random_points(clip_model: Path, sounds: dict[str, Path], tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    command = [sys.executable, "-c", SCRIPT, clip_model, whole, out, *sounds.values()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 0  # some were really killed
    assert out.read_bytes() == whole.read_bytes()
    assert left(tmp_path) == ["out.npz", "whole.npz"]
