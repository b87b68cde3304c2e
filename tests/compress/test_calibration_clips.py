"""What is calibrated on is never measured on, and what cannot be used is said in one sentence."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.compress.calibration_clips import CalibrationClips, clips_of, clips_of_run
from earkit.distill.data.corpus import open_corpus
from earkit.runtime.errors import DataError


def write(folder: Path, count: int, seconds: float = 1.0, speakers: int = 0) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("path", "split", *(["speaker"] * bool(speakers))))
        for i in range(count):
            soundfile.write(folder / f"{i}.wav", rng.standard_normal(int(16_000 * seconds)) / 20, 16_000)
            split = "test" if i % 10 == 9 else "train"
            rows.writerow((f"{i}.wav", split, *([f"s{i % speakers}"] if speakers else [])))
    return folder


def names(clips: CalibrationClips) -> tuple[set[str], set[str]]:
    return {s.clip.name for s in clips.calibration}, {s.clip.name for s in clips.held_out}


def test_whole_speakers_are_measured_on(tmp_path: Path) -> None:
    clips = clips_of(write(tmp_path / "many", 24, speakers=6))
    spoken = [{s.clip.labels["speaker"] for s in side} for side in (clips.calibration, clips.held_out)]
    assert spoken[1] == {"s0"}
    assert not spoken[0] & spoken[1]
    assert all(s.clip.labels["split"] == "train" for s in (*clips.calibration, *clips.held_out))
    assert clips.source.endswith("many")


def test_of_few_clips_every_fourth_is_measured_on(tmp_path: Path) -> None:
    calibration, held = names(clips_of(write(tmp_path / "few", 6)))
    assert held == {"0.wav", "4.wav"}
    assert calibration == {"1.wav", "2.wav", "3.wav", "5.wav"}


def test_a_run_parts_its_clips_as_it_did_in_training(tmp_path: Path) -> None:
    corpus = open_corpus(write(tmp_path / "data", 50), split="train")
    run = tmp_path / "run"
    run.mkdir()
    assert clips_of_run(run) is None
    corpus.save(run / "data.jsonl")
    clips = clips_of_run(run)
    assert clips is not None
    calibration, held = names(clips)
    assert held == {corpus.clips[i].name for i in (0, 20, 40)}
    assert calibration == {clip.name for clip in corpus.clips} - held


def test_long_clips_are_cut_and_sounds_are_what_the_files_hold(tmp_path: Path) -> None:
    folder = write(tmp_path / "long", 2, seconds=20)
    clips = clips_of(folder)
    assert {len(clips.held_out), len(clips.calibration)} == {3}
    for sound in (*clips.held_out, *clips.calibration):
        whole, _ = soundfile.read(sound.clip.path, dtype="float32")
        assert len(sound.samples) <= 8 * 16_000
        np.testing.assert_allclose(
            sound.samples, whole[sound.start : sound.start + len(sound.samples)], atol=1e-6
        )


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no sound")
    with pytest.raises(DataError, match=r"nothing in .* can be used .*: give wav"):
        clips_of(tmp_path / "empty")
    with pytest.raises(DataError, match="one clip to calibrate and to measure on: give several"):
        clips_of(write(tmp_path / "one", 1))
    with pytest.raises(DataError, match=r"none of \d clips .* shorter than 0.3 s; give others with --calibr"):
        clips_of(write(tmp_path / "short", 4, seconds=0.2))
    with pytest.raises(DataError, match="there is nothing at"):
        clips_of(tmp_path / "nowhere")
    moved = write(tmp_path / "moved", 8)
    corpus = open_corpus(moved, split="train")
    (tmp_path / "run").mkdir()
    corpus.save(tmp_path / "run" / "data.jsonl")
    for file in moved.glob("*.wav"):
        file.unlink()
    with pytest.raises(DataError, match="give others with --calibration"):
        clips_of_run(tmp_path / "run")
