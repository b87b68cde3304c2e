"""Building a corpus from a recipe of our own: what is kept, dropped, written, resumed and reused."""

import csv
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks.corpora import build as building
from earkit.benchmarks.corpora.build import build, find
from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.distill.data.corpus import open_corpus
from earkit.distill.data.evaluation import is_evaluation
from earkit.runtime.audio import SAMPLE_RATE, Audio
from earkit.runtime.errors import AudioError, DataError, StorageError

DAY = Source(Package("apt", "day", "1.0"), "0" * 64, "CC0-1.0")
NIGHT = Source(Package("pip", "night", "2.0"), {"a": "1" * 64}, "MIT")


class Sounds:
    """A recipe's sounds, which counts what is decoded and can be killed."""

    def __init__(self) -> None:
        self.decoded: list[str] = []
        self.killed_at = ""

    def __call__(self, folders: Folders) -> Iterator[Sound]:
        assert {name: folder.name for name, folder in folders.items()} == {
            "day": "day-all",
            "night": "night-a",
        }
        wave = np.linspace(-0.5, 0.5, SAMPLE_RATE, dtype=np.float32)
        noise = np.random.default_rng(0).normal(0, 0.1, 800).astype(np.float32)
        yield self.sound("a/one", wave, language="cs", speaker="ann", text='well, "yes"', label="1")
        yield self.sound("a/silent", np.zeros(1600, np.float32))
        yield self.sound("a/two", noise, package="night", source_rate=8000, session="m1", split="test")
        yield self.sound("again", wave.copy())
        yield self.sound("broken", None)
        yield self.sound("three", -wave)

    def sound(
        self,
        name: str,
        wave: np.ndarray | None,
        package: str = "day",
        source_rate: int = 44_100,
        **known: str,
    ) -> Sound:
        def audio() -> Audio:
            if name == self.killed_at:
                raise KeyboardInterrupt
            self.decoded.append(name)
            if wave is None:
                raise AudioError("it is empty")
            return Audio(wave, source_rate, 2)

        return Sound(name, package, audio, **known)  # type: ignore[arg-type]


@pytest.fixture
def sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sounds:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(building, "fetch_all", lambda package, _: tmp_path / f"{package.name}-all")
    monkeypatch.setattr(building, "fetch", lambda package, files: tmp_path / f"{package.name}-{min(files)}")
    return Sounds()


def recipe(sounds: Callable[[Folders], Iterator[Sound]], hours: float = 2.05 / 3600) -> Recipe:
    return Recipe("tiny", "a test", "train", (DAY, NIGHT), sounds, hours)


def test_manifest_and_clips(sounds: Sounds, tmp_path: Path) -> None:
    summary = build(recipe(sounds))
    assert summary.manifest == str(tmp_path / "corpora/tiny/manifest.csv")
    with Path(summary.manifest).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == ["a/one.flac", "a/two.flac", "three.flac"]
    first, second, _ = rows
    expected = {
        "samples": "16000",
        "sample_rate": "16000",
        "source_rate": "44100",
        "language": "cs",
        "speaker": "ann",
        "text": 'well, "yes"',
        "label": "1",
        "package": "day",
        "split": "train",
        "use": "train",
        "licence": "CC0-1.0",
    }
    assert expected.items() <= first.items()
    assert [second[key] for key in ("source_rate", "session", "split", "licence")] == [
        "8000",
        "m1",
        "test",
        "MIT",
    ]
    assert tuple(first) == building.COLUMNS
    wave, rate = soundfile.read(tmp_path / "corpora/tiny/a/one.flac")
    assert rate == SAMPLE_RATE
    assert np.abs(wave - np.linspace(-0.5, 0.5, SAMPLE_RATE)).max() < 1 / 32768
    assert sorted(path.name for path in (tmp_path / "corpora/tiny").iterdir()) == [
        "a",
        "corpus.json",
        "manifest.csv",
        "three.flac",
    ]
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["tiny"]


def test_what_is_dropped_is_counted(sounds: Sounds) -> None:
    summary = build(recipe(sounds))
    assert summary.clips == 3
    assert summary.dropped == {"silent": 1, "duplicate": 1, "unreadable": 1}
    assert summary.hours == pytest.approx((2 * 16_000 + 800) / SAMPLE_RATE / 3600, abs=1e-4)
    assert summary.dropped_hours == pytest.approx((1600 + 16_000) / SAMPLE_RATE / 3600, abs=1e-4)
    assert summary.packages == {"day": "1.0", "night": "2.0"}


@pytest.mark.parametrize(("times", "agrees"), [(1.0, True), (1.02, True), (1.05, False), (0.95, False)])
def test_hours_are_compared(sounds: Sounds, times: float, agrees: bool) -> None:
    summary = replace(build(recipe(sounds)), hours=10.0, expected_hours=10.0 * times)
    assert summary.as_expected == agrees


def test_other_hours_without_a_note_are_said(sounds: Sounds, caplog: pytest.LogCaptureFixture) -> None:
    build(recipe(sounds, hours=3.0))
    assert "tiny has 0.001 h where 3.000 were expected" in caplog.text
    caplog.clear()
    build(replace(recipe(sounds, hours=3.0), name="noted", note="most of it is music"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_loader_reads_it(sounds: Sounds) -> None:
    manifest = Path(build(recipe(sounds)).manifest)
    corpus = open_corpus(manifest, min_seconds=0)
    assert corpus.skipped == ()
    assert [clip.labels.get("session") for clip in corpus.clips] == [None, "m1", None]
    assert len(corpus.clips[1].read().samples) == 800
    assert not is_evaluation(manifest)
    tested = replace(recipe(sounds), name="tested", use="evaluation")
    manifest = Path(build(tested).manifest)
    assert is_evaluation(manifest)
    with manifest.open(encoding="utf-8", newline="") as lines:
        assert [row["split"] for row in csv.DictReader(lines)] == ["", "test", ""]


def test_what_is_not_divided_is_in_every_split(sounds: Sounds) -> None:
    def undivided(folders: Folders) -> Iterator[Sound]:
        yield from (replace(sound, split="") for sound in sounds(folders))

    manifest = build(replace(recipe(undivided), use="evaluation")).manifest
    assert len(open_corpus(manifest, split="train", min_seconds=0).clips) == 3


def test_a_second_run_does_nothing(sounds: Sounds, tmp_path: Path) -> None:
    made = build(recipe(sounds))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    sounds.decoded.clear()
    assert build(recipe(sounds)) == made == find(recipe(sounds))
    assert sounds.decoded == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_a_killed_run_resumes(sounds: Sounds, tmp_path: Path) -> None:
    sounds.killed_at = "again"
    with pytest.raises(KeyboardInterrupt):
        build(recipe(sounds))
    assert find(recipe(sounds)) is None
    assert not (tmp_path / "corpora/tiny").exists()
    journal = tmp_path / "corpora/.tiny.part/journal.jsonl"
    with journal.open("a") as lines:
        lines.write('{"name": "three", "dropp')  # the kill came within a write
    for sounds.killed_at in ("three", "three"):  # so that what was written after the torn line is read back
        with pytest.raises(KeyboardInterrupt):
            build(recipe(sounds))
    sounds.killed_at = ""
    summary = build(recipe(sounds))
    assert sounds.decoded == ["a/one", "a/silent", "a/two", "again", "broken", "three"]  # each once
    assert summary.dropped == {"silent": 1, "duplicate": 1, "unreadable": 1}  # of a clip of the first run
    assert not journal.parent.exists()
    resumed = Path(summary.manifest).read_text(encoding="utf-8")
    whole = build(replace(recipe(sounds), name="whole"))
    assert Path(whole.manifest).read_text(encoding="utf-8") == resumed


def test_a_new_recipe_begins_anew(sounds: Sounds, tmp_path: Path) -> None:
    build(recipe(sounds))
    newer = replace(recipe(sounds), version=2)
    assert find(newer) is None
    sounds.killed_at = "again"
    with pytest.raises(KeyboardInterrupt):
        build(newer)
    assert find(recipe(sounds))  # the old one stands until the new one is whole
    sounds.killed_at = ""
    sounds.decoded.clear()
    build(replace(newer, version=3))  # and takes nothing from an unfinished one of another version
    assert sounds.decoded[0] == "a/one"
    assert json.loads((tmp_path / "corpora/tiny/corpus.json").read_text())["version"] == 3
    other = replace(DAY, package=Package("apt", "day", "1.1"))
    assert find(replace(newer, version=3, sources=(other, NIGHT))) is None


def test_a_cache_that_was_moved(sounds: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(recipe(sounds))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "corpora").rename(tmp_path / "elsewhere/corpora")
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "elsewhere"))
    found = find(recipe(sounds))
    assert found is not None
    assert found.manifest == str(tmp_path / "elsewhere/corpora/tiny/manifest.csv")


def test_what_is_no_speech_is_dropped(sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    class Detector:
        @classmethod
        def fetched(cls) -> "Detector":
            return cls()

        def share(self, samples: np.ndarray) -> float:
            return 0.05 if len(samples) == 800 else 0.15

    monkeypatch.setattr(building, "VoiceActivity", Detector)
    summary = build(replace(recipe(sounds), speech_only=True))
    assert summary.clips == 2
    assert summary.dropped["not speech"] == 1


def test_progress(sounds: Sounds) -> None:
    heard: list[tuple[str, int, int]] = []
    build(recipe(sounds), lambda *report: heard.append(report))
    assert heard == [("tiny", done, 6) for done in range(1, 7)]


def test_packages_of_another_content_are_told(sounds: Sounds) -> None:
    def twice(folders: Folders) -> Iterator[Sound]:
        yield from sounds(folders)
        yield from sounds(folders)

    def nothing_readable(folders: Folders) -> Iterator[Sound]:
        yield from (sound for sound in sounds(folders) if sound.name == "broken")

    with pytest.raises(DataError, match="the packages of tiny hold the sound a/one twice"):
        build(recipe(twice))
    with pytest.raises(DataError, match="the packages of tiny hold no sounds"):
        build(recipe(lambda _: iter(())))
    with pytest.raises(DataError, match=r"nothing of tiny can be used \(unreadable: broken"):
        build(recipe(nothing_readable))


def test_a_disk_that_refuses_is_told(sounds: Sounds, tmp_path: Path) -> None:
    (tmp_path / "corpora").write_text("a file is in the way")
    with pytest.raises(StorageError, match="could not write"):
        build(recipe(sounds))
