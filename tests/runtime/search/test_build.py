"""An index of sounds: what is in it, what an update does, and that being killed changes no byte of it."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earkit.runtime.audio import read
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError, DataError, StorageError
from earkit.runtime.search import build as build_module
from earkit.runtime.search import store
from earkit.runtime.search.build import Options, Summary, build_index
from earkit.runtime.search.index import Index
from earkit.runtime.sound_files import find_sounds

Build = Callable[..., Summary]


@pytest.fixture
def build(sounds: Path, tmp_path: Path, embedder: Embedder) -> Build:
    def run(*, source: Path = sounds, out: str = "index", by: Embedder = embedder, **options: Any) -> Summary:
        fresh = options.pop("fresh", False)
        return build_index(
            by, find_sounds([source]).paths, source, tmp_path / out, Options(**options), fresh=fresh
        )

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def calls(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sounds each call has embedded."""
    calls: list[int] = []
    embed = embedder.embed

    def noted(x: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(len(x))
        return embed(x, *arguments, **named)

    monkeypatch.setattr(embedder, "embed", noted)
    return calls


def test_every_span_has_the_embedding_of_its_sound(
    build: Build, sounds: Path, tmp_path: Path, embedder: Embedder
) -> None:
    summary = build()
    index = Index(tmp_path / "index")
    arrays = store.read_arrays(index.folder, index.head)
    assert [file.name for file in index.files] == [
        *(f"{n}.wav" for n in range(6)),
        *("far away/6.wav", "far away/7.wav"),
    ]
    # Files of 0.5, 1, … 4 s in windows of 2 s every second.
    assert np.bincount(arrays["spans"][:, 0]).tolist() == [1, 1, 1, 1, 2, 2, 3, 3]
    for (number, begin, end), vector in zip(arrays["spans"].tolist(), arrays["vectors"], strict=True):
        samples = read(sounds / index.files[number].name).samples[begin:end]
        np.testing.assert_allclose(vector, embedder.embed(samples, 16_000), atol=1e-3)
    assert (summary.embedded, summary.kept, summary.dropped, summary.files, summary.spans) == (8, 0, 0, 8, 14)
    assert summary.bytes == sum(map(len, content(tmp_path / "index").values()))


@pytest.mark.parametrize("method", ["exact", "funnel", "binary", "sparse"])
def test_a_part_of_a_file_is_found_where_it_stands(
    build: Build, sounds: Path, tmp_path: Path, embedder: Embedder, method: Any
) -> None:
    build(window=1.0, hop=0.5, codes=True)
    query = read(sounds / "far away/7.wav", start=2.0, seconds=1.0).samples
    first, *others = Index(tmp_path / "index").search(query, embedder, 16_000, top=4, method=method)
    assert (first.file, first.start, first.end) == (str(sounds / "far away/7.wav"), 2.0, 3.0)
    assert first.score == pytest.approx(1, abs=1e-3)
    assert len(others) == 3
    assert all(hit.score < 0.98 for hit in others)


def test_a_long_query_is_found_by_its_parts(
    build: Build, sounds: Path, tmp_path: Path, embedder: Embedder
) -> None:
    build(window=1.0, hop=1.0)
    hits = Index(tmp_path / "index").search(sounds / "far away/7.wav", embedder, top=4)
    assert {(hit.file, hit.start) for hit in hits} == {
        (str(sounds / "far away/7.wav"), float(second)) for second in range(4)
    }
    assert all(hit.score == pytest.approx(1, abs=1e-3) for hit in hits)


def test_no_two_hits_overlap_and_as_many_come_as_were_asked_for(
    build: Build, sounds: Path, tmp_path: Path, embedder: Embedder
) -> None:
    build(window=1.0, hop=0.125)
    hits = Index(tmp_path / "index").search(sounds / "5.wav", embedder, 16_000, top=9)
    assert len(hits) == 9
    for i, hit in enumerate(hits):
        for other in hits[:i]:
            assert other.file != hit.file or other.end <= hit.start or hit.end <= other.start


def test_nothing_is_done_or_written_where_nothing_changed(
    build: Build, tmp_path: Path, calls: list[int]
) -> None:
    build(codes=True)
    calls.clear()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*")}
    summary = build()
    assert (summary.embedded, summary.kept, summary.dropped, summary.spans) == (0, 8, 0, 14)
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*")} == before


def test_an_update_equals_a_new_index(
    build: Build, sounds: Path, tmp_path: Path, make_sound: Any, calls: list[int]
) -> None:
    build(codes=True)
    calls.clear()
    (sounds / "0.wav").unlink()
    soundfile.write(sounds / "3.wav", make_sound(999, 5.0), 16_000)
    soundfile.write(sounds / "added.wav", make_sound(998, 0.3), 16_000)
    (sounds / "5.wav").rename(sounds / "another name.wav")
    shutil.copy(sounds / "1.wav", sounds / "a copy.wav")
    os.utime(sounds / "2.wav")
    summary = build()
    assert sorted(calls) == [1, 1, 4, 4]  # spans of added.wav and 3.wav, and their codes
    assert (summary.embedded, summary.kept, summary.files) == (2, 7, 9)
    assert summary.dropped == 3  # 0.wav, what 3.wav was, and 5.wav
    build(out="new", codes=True)
    assert content(tmp_path / "index") == content(tmp_path / "new")


@pytest.mark.parametrize("options", [{"window": 1.0}, {"hop": 0.5}, {"vectors": "int8"}, {"codes": True}])
def test_an_index_is_not_changed_into_another(build: Build, tmp_path: Path, options: dict[str, Any]) -> None:
    build()
    before = content(tmp_path / "index")
    with pytest.raises(ConfigError, match=f"another {next(iter(options))}: .*--fresh"):
        build(**options)
    assert content(tmp_path / "index") == before
    build(fresh=True, **options)
    assert content(tmp_path / "index") != before
    build()  # takes what it finds


def test_settings_may_be_said_again(build: Build) -> None:
    given = {"window": 1.5, "hop": 0.7, "vectors": "int8", "codes": True}
    build(**given)
    assert build(**given).kept == 8


def test_another_model_is_refused(
    build: Build, make_model: Callable[..., Path], embedder: Embedder, tmp_path: Path
) -> None:
    build()
    info = dataclasses.replace(embedder.info, parent_sha256="cd" * 32)
    other = Embedder.load(make_model(tmp_path / "other.onnx", seed=1, info=info), threads=1)
    before = content(tmp_path / "index")
    with pytest.raises(ConfigError, match="cannot be compared"):
        build(by=other)
    assert content(tmp_path / "index") == before
    assert build(by=other, fresh=True).embedded == 8


def test_a_model_without_its_weights_sum_is_known_by_its_file(
    build: Build, make_model: Callable[..., Path], embedder: Embedder, tmp_path: Path
) -> None:
    info = dataclasses.replace(embedder.info, parent_sha256="")
    first, second = (
        Embedder.load(make_model(tmp_path / f"{seed}.onnx", seed=seed, info=info), threads=1)
        for seed in (1, 2)
    )
    build(by=first)
    with pytest.raises(ConfigError, match="cannot be compared"):
        build(by=second)
    assert build(by=first).kept == 8


def test_an_index_belongs_to_one_folder(build: Build, sounds: Path, tmp_path: Path) -> None:
    build()
    other = tmp_path / "other"
    shutil.copytree(sounds, other)
    with pytest.raises(ConfigError, match=r"is the index of .*sounds: choose another one"):
        build(source=other)
    shutil.rmtree(sounds)
    assert build(source=other).kept == 8  # it was moved
    assert Index(tmp_path / "index").head.source == str(other)


def test_what_cannot_be_used_is_left_out_and_tried_again(
    build: Build, sounds: Path, tmp_path: Path, make_sound: Any
) -> None:
    (sounds / "bad.wav").write_bytes(b"RIFF but not really")
    (sounds / "gone.wav").symlink_to("nowhere.wav")
    summary = build()
    assert set(summary.skipped) == {"bad.wav", "gone.wav"}
    assert "damaged or not audio" in summary.skipped["bad.wav"]
    assert "No such file" in summary.skipped["gone.wav"]
    assert summary.files == 8
    soundfile.write(sounds / "bad.wav", make_sound(7, 1.0), 16_000)
    summary = build()
    assert (summary.embedded, summary.kept, list(summary.skipped)) == (1, 8, ["gone.wav"])


def test_a_file_that_breaks_is_dropped(build: Build, sounds: Path) -> None:
    build()
    (sounds / "4.wav").write_bytes(b"")
    summary = build()
    assert (summary.files, summary.kept, summary.dropped) == (7, 7, 1)
    assert list(summary.skipped) == ["4.wav"]


def test_where_nothing_can_be_used_the_old_index_stands(build: Build, sounds: Path, tmp_path: Path) -> None:
    build()
    before = content(tmp_path / "index")
    for file in sounds.rglob("*.wav"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 8 files can be used; 0\.wav: .* is empty"):
        build()
    assert content(tmp_path / "index") == before


def test_what_was_done_to_sounds_is_counted(build: Build, sounds: Path, make_sound: Any) -> None:
    soundfile.write(sounds / "rate.wav", make_sound(1, 1.0), 8000)
    soundfile.write(sounds / "stereo.wav", np.stack([make_sound(2, 1.0)] * 2, 1), 16_000)
    soundfile.write(sounds / "loud.wav", make_sound(3, 1.0) * 6, 16_000, subtype="FLOAT")
    summary = build()
    assert (summary.resampled, summary.averaged, summary.clipped) == (1, 1, 1)


def test_a_foreign_folder_is_left_alone(build: Build, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match="choose another folder"):
        build(fresh=True)
    assert content(tmp_path / "index") == {"thesis.tex": b"years of work"}


def test_damage_is_not_taken_over(build: Build, tmp_path: Path) -> None:
    build()
    file = tmp_path / "index" / store.read_head(tmp_path / "index").data / "vectors.npy"
    array = np.load(file)
    array[3, 3] += 0.25
    np.save(file, array)
    with pytest.raises(CheckpointError, match=r"content is not what was written.*--fresh"):
        build()
    assert build(fresh=True).embedded == 8


def test_codes_and_graphs_need_a_model_that_allows_them(
    build: Build, make_model: Callable[..., Path], embedder: Embedder, tmp_path: Path
) -> None:
    info = dataclasses.replace(embedder.info, dims=(16, 64))
    narrow = Embedder.load(make_model(tmp_path / "narrow.onnx", info=info), threads=1)
    with pytest.raises(ConfigError, match="leave --graph out"):
        build(by=narrow, graph=True)
    build(by=narrow)
    assert "funnel" not in Index(tmp_path / "index").methods


def test_a_graph_can_be_added_and_stays(
    build: Build, tmp_path: Path, embedder: Embedder, sounds: Path
) -> None:
    pytest.importorskip("usearch")
    build()
    assert build(graph=True).kept == 8
    assert build().kept == 8
    index = Index(tmp_path / "index")
    assert "graph" in index.methods
    assert index.search(sounds / "1.wav", embedder, method="graph", top=1)[0].file == str(sounds / "1.wav")


def always_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every file, what is done becomes the index."""
    monkeypatch.setattr(build_module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(build_module, "CHECKPOINT_SHARE", 1e9)


def test_what_is_done_becomes_the_index_now_and_then(
    build: Build, tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_pause(monkeypatch)
    seen: list[tuple[int, int]] = []
    embed = embedder.embed

    def looked_at(*arguments: Any, **named: Any) -> Any:
        if store.is_index(tmp_path / "index"):
            index = Index(tmp_path / "index")
            seen.append((len(index.files), index.head.pending))
        return embed(*arguments, **named)

    monkeypatch.setattr(embedder, "embed", looked_at)
    build()
    assert seen == [(done, 8 - done) for done in range(1, 8)]
    assert Index(tmp_path / "index").head.pending == 0


def test_after_a_pause_for_nothing_the_index_is_whole_again(
    build: Build, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    before = content(tmp_path / "index")
    always_pause(monkeypatch)
    for name in ("0.bad.wav", "1.bad.wav"):
        (sounds / name).write_bytes(b"")
    build()
    assert content(tmp_path / "index") == before


def test_a_run_that_failed_is_taken_up(
    build: Build, tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_pause(monkeypatch)
    embed, calls = embedder.embed, 0

    def failing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise KeyboardInterrupt
        return embed(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(embedder, "embed", failing)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert Index(tmp_path / "index").head.pending > 0
    assert build().kept == 5
    build(out="whole")
    assert content(tmp_path / "index") == content(tmp_path / "whole")


def test_a_sound_that_fails_halfway_leaves_nothing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder: Embedder
) -> None:
    embed = embedder.embed

    def failing(x: Any, *arguments: Any, **named: Any) -> Any:
        if len(x) == 3:
            raise AudioError("torn")
        return embed(x, *arguments, **named)

    monkeypatch.setattr(embedder, "embed", failing)
    summary = build()
    assert summary.skipped == {"far away/6.wav": "torn", "far away/7.wav": "torn"}
    assert (summary.embedded, summary.spans) == (6, 8)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from earkit.runtime.embedder import Embedder
from earkit.runtime.search import build
from earkit.runtime.sound_files import find_sounds
model, source, out = map(Path, sys.argv[1:4])
writes, fsync = 0, os.fsync
def counted(file):
    global writes
    writes += 1
    if writes == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(file)
os.fsync = counted
build.CHECKPOINT_SECONDS, build.CHECKPOINT_SHARE = 0.0, 1e9
options = build.Options(codes=True, hop=0.25)
build.build_index(Embedder.load(model, threads=1), find_sounds([source]).paths, source, out, options)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_kills_at_any_write_change_no_byte(sounds: Path, tmp_path: Path, model: Path) -> None:
    """There are nine writes for each of eight files."""

    def run(out: str, die_at: int) -> int:
        command = [sys.executable, "-c", SCRIPT, str(model), str(sounds), str(tmp_path / out), str(die_at)]
        return subprocess.run(command, check=False).returncode

    assert run("whole", 0) == 0
    for die_at in np.random.default_rng().integers(1, 25, 3).tolist():
        assert run("killed", die_at) == -signal.SIGKILL, f"was to be killed at write {die_at}"
        if store.is_index(tmp_path / "killed"):
            index = Index(tmp_path / "killed")
            assert len(index.files) + index.head.pending == 8
    assert run("killed", 0) == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert json.loads(content(tmp_path / "killed")["index.json"])["pending"] == 0
