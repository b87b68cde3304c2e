import csv
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.distill.speech import synthetic_corpus
from earkit.distill.speech.phones import LEXICON
from earkit.distill.speech.synthesizer import utterance
from earkit.distill.speech.synthetic_corpus import COLUMNS, default_corpus, read_labels, write_corpus
from earkit.runtime.errors import ConfigError, DataError, StorageError

TINY = {"minutes": 0.4, "speakers": 4, "seed": 3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpora") / "tiny", **TINY).parent


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_manifest_describes_the_files(corpus: Path) -> None:
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == COLUMNS
    assert {row["path"] for row in rows} == {str(p.relative_to(corpus)) for p in corpus.rglob("*.flac")}
    for row in rows:
        facts = soundfile.info(corpus / row["path"])
        assert (facts.frames, facts.samplerate) == (int(row["samples"]), int(row["sample_rate"]))
        assert (facts.channels, facts.subtype, facts.samplerate) == (1, "PCM_16", 16_000)
        assert 2.5 <= facts.duration <= 6
        assert Path(row["path"]).parts[:2] == (row["split"], row["speaker"])


def test_files_hold_what_was_spoken_unclipped(corpus: Path) -> None:
    written, _ = soundfile.read(corpus / "test" / "s001" / "s001-0000.flac", dtype="float32")
    spoken = utterance(TINY["seed"], 1, 0).audio
    assert np.abs(written - spoken).max() <= 1 / 32768
    assert np.abs(written).max() < 0.96


def test_labels_read_back(corpus: Path) -> None:
    clips = read_labels(corpus / "manifest.csv")
    for clip in clips:
        assert clip.samples == soundfile.info(clip.path).frames
        assert clip.phones[0].start == 0
        assert all(a.end == b.start for a, b in zip(clip.phones, clip.phones[1:], strict=False))
        assert clip.text.split() == [word.label for word in clip.words]
        for word in clip.words:
            inside = [p.label for p in clip.phones if word.start <= p.start and p.end <= word.end]
            assert inside == [phone.label for phone in LEXICON[word.label].phones]


def test_a_quarter_of_the_speakers_and_a_fifth_of_the_audio_are_for_testing(tmp_path: Path) -> None:
    clips = read_labels(write_corpus(tmp_path / "c", minutes=2.0, speakers=8))
    speakers = {split: {c.speaker for c in clips if c.split == split} for split in ("train", "test")}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 6, "test": 2}
    assert not speakers["train"] & speakers["test"]
    total = sum(clip.samples for clip in clips)
    assert total / 16_000 == pytest.approx(120, abs=12)
    assert sum(c.samples for c in clips if c.split == "test") / total == pytest.approx(0.2, abs=0.07)


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(corpus: Path, tmp_path: Path) -> None:
    again = write_corpus(tmp_path / "again", **TINY).parent
    assert bytes_of(again) == bytes_of(corpus)
    other = bytes_of(write_corpus(tmp_path / "other", **(TINY | {"seed": 4})).parent)
    assert other["train/s000/s000-0000.flac"] != bytes_of(corpus)["train/s000/s000-0000.flac"]


def test_the_readme_says_that_it_is_synthetic(corpus: Path) -> None:
    text = (corpus / "README.txt").read_text(encoding="utf-8")
    assert text.startswith("SYNTHETIC SPEECH")
    assert "seed 3" in text
    assert f"version {synthetic_corpus.VERSION}" in text


def test_progress_rises_to_one(tmp_path: Path) -> None:
    heard: list[float] = []
    write_corpus(tmp_path / "c", **TINY, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1


def test_an_equal_corpus_is_reused(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    with caplog.at_level(logging.INFO):
        assert write_corpus(corpus, **TINY) == corpus / "manifest.csv"
    assert "reusing" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path / "c")
    assert write_corpus(Path(), **TINY) == tmp_path / "c" / "manifest.csv"
    assert len(read_labels(tmp_path / "c" / "manifest.csv")) >= 4


def test_a_corpus_of_another_recipe_stays(corpus: Path) -> None:
    before = bytes_of(corpus)
    with pytest.raises(DataError, match="another corpus"):
        write_corpus(corpus, **(TINY | {"seed": 5}))
    assert bytes_of(corpus) == before


def test_what_is_not_a_corpus_stays(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    for place in (tmp_path / "letters", tmp_path / "letters" / "love.txt"):
        with pytest.raises(DataError, match="not a synthetic corpus"):
            write_corpus(place, **TINY)
    assert (tmp_path / "letters" / "love.txt").read_text() == "dear"


def test_a_corpus_with_lost_clips_is_not_reused(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "c", **TINY)
    read_labels(manifest)[1].path.unlink()
    with pytest.raises(DataError, match="lost 1 clip"):
        write_corpus(tmp_path / "c", **TINY)


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def nearly_full(path: Path, data: bytes) -> int:
        if path.name == "s001-0000.flac":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", nearly_full)
    with pytest.raises(StorageError, match="No space left on device; free some space") as caught:
        write_corpus(tmp_path / "c", **TINY)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "c", **TINY, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_leaves_no_corpus_and_the_next_one_succeeds(corpus: Path, tmp_path: Path) -> None:
    build = (
        "from pathlib import Path; from earkit.distill.speech.synthetic_corpus import write_corpus;"
        "write_corpus(Path('c'), minutes=60)"
    )
    process = subprocess.Popen([sys.executable, "-c", build], cwd=tmp_path)
    try:
        while not list(tmp_path.rglob("*.flac")):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "c").exists()
    assert bytes_of(write_corpus(tmp_path / "c", **TINY).parent) == bytes_of(corpus)


def test_of_two_builders_at_once_the_slower_takes_what_is_there(tmp_path: Path) -> None:
    """The other one finishes while this one is at its last speaker."""

    def overtake(share: float) -> None:
        if share == 1:
            write_corpus(tmp_path / "c", **TINY)

    manifest = write_corpus(tmp_path / "c", **TINY, progress=overtake)
    assert manifest.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 0},
        {"minutes": -1},
        {"minutes": float("nan")},
        {"minutes": float("inf")},
        {"speakers": 1},
        {"seed": -1},
    ],
)
def test_impossible_recipes(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="give"):
        write_corpus(tmp_path / "c", **(TINY | wrong))
    assert list(tmp_path.iterdir()) == []


def test_the_default_corpus_lives_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(synthetic_corpus, "DEFAULT", synthetic_corpus.Recipe(**TINY))
    manifest = default_corpus()
    assert manifest.parent.parent == tmp_path
    assert manifest.parent.name == f"synthetic-speech-v{synthetic_corpus.VERSION}-0.4min-4speakers-seed3"
    assert default_corpus() == manifest


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read"),
        (b"path,speaker\n", "no column"),
        (b"\xff\xfe\x00", "cannot read"),
        (",".join(COLUMNS).encode() + b"\na.flac,9,16000,s,train,cat,cat:0,sil:0:9,x\n", "line 2"),
        (",".join(COLUMNS).encode() + b"\na.flac,9\n", "line 2"),
        (",".join(COLUMNS).encode() + b"\na.flac,9,16000,s,train,cat,cat:0:9,,x\n", "line 2"),
    ],
)
def test_manifests_without_labels(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    manifest = tmp_path / "manifest.csv"
    if content is not None:
        manifest.write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        read_labels(manifest)
