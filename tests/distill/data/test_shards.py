"""Shards: members in place, against `tarfile`'s own extraction, and shards that are not whole."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from earkit.distill.data.shards import Member, Window, members
from earkit.runtime.errors import DataError

CONTENT = {
    "a/one.wav": b"first",
    "a/one.json": b"{}",
    "../../hostile.wav": b"x" * 2000,
    "l" * 150 + ".wav": b"last",
}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in CONTENT.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        folder = tarfile.TarInfo("folder.wav")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return tmp_path / "a.tar"


def test_members_are_where_they_are_said_to_be(shard: Path) -> None:
    found = list(members(shard))
    assert [member.name for member in found] == list(CONTENT)
    whole = shard.read_bytes()
    assert [whole[m.offset : m.offset + m.size] for m in found] == list(CONTENT.values())
    assert [p.name for p in shard.parent.iterdir()] == ["a.tar"]  # nothing was unpacked


def test_window_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    with io.BufferedReader(Window(tmp_path / "f", 10, 50)) as window:
        reference = io.BytesIO(bytes(range(10, 60)))
        for offset, whence, count in (
            (0, 0, 5),
            (3, 1, 7),
            (-4, 2, 100),
            (48, 0, 10),
            (70, 0, 3),
            (0, 0, -1),
        ):
            assert window.seek(offset, whence) == reference.seek(offset, whence)
            assert window.read(count) == reference.read(count)
            assert window.tell() == reference.tell()
    with pytest.raises(ValueError, match="closed"):
        window.read()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed(mode: str, tmp_path: Path) -> None:
    tarfile.open(tmp_path / "a.tar", mode).close()
    with pytest.raises(DataError, match=r"a\.tar is compressed: decompress it"):
        list(members(tmp_path / "a.tar"))


def test_truncated(shard: Path) -> None:
    os.truncate(shard, 3000)  # within the long member
    found = members(shard)
    assert [next(found).name, next(found).name] == ["a/one.wav", "a/one.json"]
    with pytest.raises(DataError, match=r"truncated within \.\./\.\./hostile\.wav"):
        next(found)


def test_no_tar(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(DataError, match=r"cannot read .*a\.tar as a tar shard"):
        list(members(tmp_path / "a.tar"))
    with pytest.raises(DataError, match="No such file"):
        list(members(tmp_path / "gone.tar"))


def test_many_members_are_listed_once_each(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i in range(500):
            tar.addfile(tarfile.TarInfo(f"{i}.wav"))
    assert [m.name for m in members(tmp_path / "a.tar")] == [f"{i}.wav" for i in range(500)]
    assert isinstance(next(members(tmp_path / "a.tar")), Member)


def test_damage_in_the_middle_is_told_and_not_taken_for_the_end(shard: Path) -> None:
    whole = bytearray(shard.read_bytes())
    second = whole.index(b"a/one.json")
    whole[second + 148 : second + 156] = b"99999999"  # the header's checksum
    shard.write_bytes(whole)
    found = []
    with pytest.raises(DataError, match="damaged in the middle"):
        found.extend(member.name for member in members(shard))
    assert found in ([], ["a/one.wav"])
