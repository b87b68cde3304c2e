"""Opening corpora: every layout, whatever may be wrong in one, and the index of a resumed run."""

import csv
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.distill.data.corpus import Clip, Corpus, Skipped, SkippedLog, open_corpus
from earkit.runtime.errors import AudioError, DataError, StorageError


def sound(
    seconds: float = 0.5, rate: int = 16000, channels: int = 1, kind: str = "FLAC", seed: int = 0
) -> bytes:
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def table(path: Path, rows: list[Mapping[str, object]]) -> Path:
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def names(corpus: Corpus) -> list[str]:
    return [clip.name for clip in corpus.clips]


def test_folder_is_searched_in_sorted_order_and_keeps_source_rates(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"b.WAV": sound(kind="WAV", rate=8000, channels=2), "a/z.ogg": sound(kind="OGG", rate=44100)},
    )
    write(tmp_path, {"a/c.mp3": sound(kind="MP3"), "notes.txt": b"hi", "._b.wav": b"x", ".cache/d.wav": b"x"})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    corpus = open_corpus(tmp_path)
    assert names(corpus) == ["a/c.mp3", "a/z.ogg", "b.WAV"]
    assert [(clip.rate, clip.channels) for clip in corpus.clips] == [(16000, 1), (44100, 1), (8000, 2)]
    assert corpus.seconds == pytest.approx(1.5)
    assert corpus.skipped == ()
    assert (corpus.clips[2].frames, corpus.clips[2].samples, corpus.clips[2].seconds) == (4000, 8000, 0.5)


def test_what_cannot_be_used_is_skipped_with_its_reason(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "good.flac": sound(),
            "renamed.wav": b"this is text " * 99,
            "zero.wav": b"",
            "nothing.wav": sound(0, kind="WAV"),
            "short.wav": sound(0.05, kind="WAV"),
            "cut.wav": sound(kind="WAV")[:5000],
            "stub.flac": sound()[:30],
        },
    )
    corpus = open_corpus(tmp_path)
    assert names(corpus) == ["good.flac"]
    reasons = {s.name: s.reason for s in corpus.skipped}
    assert reasons.keys() == {"renamed.wav", "zero.wav", "nothing.wav", "short.wav", "cut.wav", "stub.flac"}
    expected = {
        "renamed.wav": "not audio",
        "zero.wav": "0 bytes",
        "nothing.wav": "no samples",
        "short.wav": "shorter than 0.1 s",
        "cut.wav": "truncated",
        "stub.flac": "damaged",
    }
    for name, reason in expected.items():
        assert reason in reasons[name]


def test_csv_manifest(tmp_path: Path) -> None:
    write(tmp_path, {"x/a.flac": sound(), "b.wav": sound(kind="WAV", rate=8000), "unlisted.flac": sound()})
    manifest = table(
        tmp_path / "manifest.csv",
        [
            {"path": "x/a.flac", "samples": 8000, "sample_rate": 16000, "speaker": "ann", "split": "train"},
            {"path": "b.wav", "samples": "", "sample_rate": "", "speaker": "bob", "split": "train"},
            {"path": "vanished.wav", "samples": 99999, "sample_rate": 16000, "speaker": "", "split": "train"},
            {"path": "gone.wav", "samples": "", "sample_rate": "", "speaker": "", "split": "train"},
            {"path": "", "samples": "", "sample_rate": "", "speaker": "eve", "split": "train"},
            {"path": "x/a.flac", "samples": "", "sample_rate": "", "speaker": "ann", "split": "test"},
        ],
    )
    for source in (tmp_path, str(manifest)):
        corpus = open_corpus(source, split="train")
        assert names(corpus) == ["x/a.flac", "b.wav"]
        assert [(clip.frames, clip.rate) for clip in corpus.clips] == [(8000, 16000), (4000, 8000)]
        assert corpus.clips[0].labels == {"speaker": "ann", "split": "train"}
        assert [s.name for s in corpus.skipped] == ["vanished.wav", "gone.wav", "manifest.csv:6"]
        assert all("no such file" in s.reason.lower() for s in corpus.skipped[:2])
    assert len(open_corpus(tmp_path).clips) == 3


def test_fairseq_manifest_keeps_the_source_rate(tmp_path: Path) -> None:
    write(tmp_path / "data", {"a.wav": sound(kind="WAV", rate=8000), "b.flac": sound()})
    (tmp_path / "train.tsv").write_text(f"{tmp_path / 'data'}\nb.flac\t8000\na.wav\t4000\n")
    corpus = open_corpus(tmp_path / "train.tsv")
    assert [(clip.name, clip.frames, clip.rate) for clip in corpus.clips] == [
        ("b.flac", 8000, 16000),
        ("a.wav", 4000, 8000),
    ]


def test_shards_are_read_in_place(tmp_path: Path) -> None:
    one = {f"{i}.flac": sound(0.3 + i / 10, seed=i) for i in range(3)}
    pack(tmp_path / "data-0.tar", one | {"0.json": b"{}", "bad.wav": b"text" * 99})
    pack(tmp_path / "data-1.tar", {"../../x.ogg": sound(kind="OGG")})
    pack(tmp_path / "other.tar", {"y.wav": sound(kind="WAV")})
    before = sorted(tmp_path.rglob("*"))
    corpus = open_corpus(tmp_path / "data-*.tar")
    assert [name.rpartition(".tar/")[2] for name in names(corpus)] == [
        "0.flac",
        "1.flac",
        "2.flac",
        "../../x.ogg",
    ]
    assert [s.name.rpartition("/")[2] for s in corpus.skipped] == ["bad.wav"]
    for i, clip in enumerate(corpus.clips[:3]):
        expected, _ = soundfile.read(io.BytesIO(one[f"{i}.flac"]), dtype="float32")
        np.testing.assert_array_equal(clip.read().samples, expected)
        np.testing.assert_array_equal(clip.read(0.1, 0.15).samples, expected[1600:4000])
    assert len(open_corpus(tmp_path).clips) == 5
    assert names(open_corpus(tmp_path / "other.tar")) == ["other.tar/y.wav"]
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "data-0.tar").unlink()
    with pytest.raises(AudioError, match=r"cannot read the shard .*data-0\.tar"):
        corpus.clips[0].read()


def test_single_file(tmp_path: Path) -> None:
    write(tmp_path, {"a.flac": sound()})
    assert names(open_corpus(tmp_path / "a.flac")) == ["a.flac"]


def test_nothing_usable_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"bad/a.wav": b"", "bad/b.wav": b"text" * 99, "e.csv": b"", "h.csv": b"path\n", "n.csv": b"x\n1\n"},
    )
    write(
        tmp_path, {"v.csv": b"path\ngone.wav\n", "s.csv": b"path,split\nbad/a.wav,test\n", "t.txt": b"hello"}
    )
    (tmp_path / "empty").mkdir()
    pack(tmp_path / "c.tar.gz", {"a.flac": sound()}, "w:gz")
    for source, sentence in {
        "missing": "there is nothing at",
        "missing-*.tar": "there is nothing at",
        "empty": "no sound in it, or none of the split train",
        "bad": r"2 skipped, first: a\.wav is empty",
        "e.csv": "is empty",
        "h.csv": "no sound in it, or none of the split train",
        "n.csv": "no column path",
        "v.csv": r"1 skipped, first: cannot read gone\.wav: No such file",
        "s.csv": "no sound in it, or none of the split train",
        "t.txt": "is no corpus",
        "c.tar.gz": "is compressed: decompress it",
    }.items():
        with pytest.raises(DataError, match=sentence) as caught:
            open_corpus(tmp_path / source, split="train")
        assert "\n" not in str(caught.value)


def test_progress_counts_every_file(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.wav": sound(0.2, kind="WAV") for i in range(5)} | {"bad.wav": b""})
    heard: list[tuple[int, int]] = []
    open_corpus(tmp_path, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(i, 6) for i in range(1, 7)]


def test_index_gives_the_same_corpus_without_a_scan(tmp_path: Path) -> None:
    write(tmp_path / "data", {"a.flac": sound(), "ü.flac": sound(), "bad.wav": b""})
    pack(tmp_path / "data" / "c.tar", {"x.flac": sound()})
    corpus = open_corpus(tmp_path / "data")
    corpus.save(tmp_path / "run" / "data.jsonl")
    (tmp_path / "data" / "a.flac").unlink()  # a scan would notice
    assert Corpus.load(tmp_path / "run" / "data.jsonl") == corpus


def test_damaged_index(tmp_path: Path) -> None:
    index = tmp_path / "data.jsonl"
    Corpus((Clip("a", "/a", 1, 1), Clip("b", "/b", 1, 1)), (Skipped("c", "d"),)).save(index)
    lines = index.read_text().splitlines()
    for text in ("", "\n".join(lines[:-1]), "\n".join(lines)[:-5], "[]", json.dumps({"version": 99})):
        index.write_text(text)
        with pytest.raises(DataError, match=r"data\.jsonl is damaged"):
            Corpus.load(index)
    with pytest.raises(DataError, match="cannot read the corpus index"):
        Corpus.load(tmp_path / "none.jsonl")


def test_skipped_log_holds_each_once_over_resumes(tmp_path: Path) -> None:
    path = tmp_path / "run" / "skipped.jsonl"
    a, b, again = Skipped("a.wav", "bad"), Skipped("b\n.wav", "short"), Skipped("a.wav", "silent")
    log = SkippedLog(path)
    log.add([a, b, a])
    log.add(iter([b]))
    with path.open("a") as lines:
        lines.write('{"name": "torn')
    log = SkippedLog(path)
    log.add([b, again])
    assert len(log) == 2  # names
    entries = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert [Skipped(**entry) for entry in entries] == [a, b, again]
    assert SkippedLog(path)._known == {a, b, again}


def test_skipped_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"could not write .*skipped\.jsonl"):
        SkippedLog(tmp_path / "file" / "skipped.jsonl").add([Skipped("a", "b")])


def test_foreign_formats_are_listed_and_not_passed_over(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1), 16_000)
    (tmp_path / "song.M4A").write_bytes(b"\0" * 100)
    (tmp_path / "notes.txt").write_text("no sound at all")
    (skipped,) = open_corpus(tmp_path).skipped
    assert skipped.name == "song.M4A"
    assert "convert it" in skipped.reason
