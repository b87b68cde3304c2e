"""Finding sound files."""

from pathlib import Path

import pytest

from earkit.runtime.errors import DataError
from earkit.runtime.sound_files import find_sounds


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    names = ["b.wav", "a/z.FLAC", "a/b/c.mp3", "a/notes.txt", "x.m4a", "y.m4a", ".hidden.wav", ".git/q.wav"]
    for name in names:
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "clips"


def test_a_folder_is_searched_to_its_depths(clips: Path) -> None:
    found = find_sounds([clips])
    assert found.paths == {name: clips / name for name in ("a/b/c.mp3", "a/z.FLAC", "b.wav")}
    assert list(found.paths) == sorted(found.paths)
    assert (found.doubles, found.foreign) == (0, {".m4a": 2})


def test_files_are_taken_as_they_are(clips: Path) -> None:
    for places in (
        [clips / "b.wav", clips / "a" / "notes.txt"],
        [clips / "a" / "notes.txt", clips / "b.wav"],
    ):
        assert list(find_sounds(places).paths) == ["a/notes.txt", "b.wav"]
    assert list(find_sounds([clips / "a" / "z.FLAC"]).paths) == ["z.FLAC"]


def test_a_file_is_taken_once(clips: Path) -> None:
    found = find_sounds([clips / "b.wav", clips, clips / "a", clips / "a" / ".." / "b.wav"])
    assert list(found.paths) == ["a/b/c.mp3", "a/z.FLAC", "b.wav"]
    assert found.doubles == 4


def test_names_are_the_same_from_everywhere(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clips)
    assert list(find_sounds([Path()]).paths) == list(find_sounds([clips]).paths)
    assert find_sounds([Path("a"), Path("b.wav")]).paths["a/z.FLAC"] == Path("a/z.FLAC")


def test_links_that_go_round_end(clips: Path) -> None:
    (clips / "a" / "loop").symlink_to(clips)
    assert len(find_sounds([clips]).paths) == 3


def test_nothing_to_embed(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing at .*gone: give sound files"):
        find_sounds([clips, tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no sound in .*empty: give wav"):
        find_sounds([tmp_path / "empty"])
    (tmp_path / "empty" / "a.m4a").write_bytes(b"")
    with pytest.raises(DataError, match=r"no sound in .*empty that can be read, only 1 .m4a"):
        find_sounds([tmp_path / "empty"])
