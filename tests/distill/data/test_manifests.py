"""Manifests: the three layouts, and tables that are none."""

from pathlib import Path

import pytest

from earkit.distill.data.manifests import rows
from earkit.runtime.errors import DataError


def manifest(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_csv(tmp_path: Path) -> None:
    text = (
        "\ufeffspeaker,path,samples,sample_rate,text\r\n"
        's1,a/b.wav,32000,16000,"well, yes"\r\n'
        "s2,/abs/c.wav,abc,16000,\r\n"
        "s3,d.wav,100\r\n"
        ",,,,\r\n"
    )
    first, second, third, fourth = rows(manifest(tmp_path, text), None)
    assert (first.line, first.path, first.place) == (2, "a/b.wav", tmp_path / "a/b.wav")
    assert (first.frames, first.rate) == (32000, 16000)
    assert first.labels == {"speaker": "s1", "text": "well, yes"}
    assert (second.place, second.frames, second.rate) == (Path("/abs/c.wav"), None, None)
    assert (third.frames, third.labels) == (None, {"speaker": "s3"})
    assert fourth.path == ""


def test_tsv_with_a_header_and_unpaired_quotes(tmp_path: Path) -> None:
    text = 'path\tsentence\na.mp3\t"Oh, he said\nb.mp3\tfine\n'
    found = list(rows(manifest(tmp_path, text, "train.tsv"), None))
    assert [row.path for row in found] == ["a.mp3", "b.mp3"]
    assert found[0].labels["sentence"] == '"Oh, he said'


def test_fairseq(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for root in (str(tmp_path / "root"), "root"):
        found = list(
            rows(manifest(tmp_path, f"{root}\na b.flac\t16000\nsub/c.flac\t5\n", "train.tsv"), "train")
        )
        assert [row.place for row in found] == [tmp_path / "root/a b.flac", tmp_path / "root/sub/c.flac"]
        assert [row.frames for row in found] == [None, None]  # at an unknown rate
    with pytest.raises(DataError, match="which does not exist: correct its first line"):
        list(rows(manifest(tmp_path, "/nowhere\na.flac\t16000\n", "train.tsv"), None))


def test_split(tmp_path: Path) -> None:
    table = manifest(tmp_path, "path,split\na.wav,train\nb.wav,test\nc.wav,\n")
    assert [row.path for row in rows(table, "test")] == ["b.wav"]
    assert [row.path for row in rows(table, None)] == ["a.wav", "b.wav", "c.wav"]
    table = manifest(tmp_path, "path\na.wav\n")
    assert [row.path for row in rows(table, "test")] == ["a.wav"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"file,text\na.wav,hi\n", r"has no column path \(it has file, text\)"),
        (b"path\n\xff\xfe\n", "is not a table in UTF-8"),
        (b"path,text\na.wav," + b"x" * 200_000, "is not a table"),
    ],
)
def test_not_a_manifest(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        list(rows(tmp_path / "m.csv", None))
    assert str(tmp_path / "m.csv") in str(caught.value)
