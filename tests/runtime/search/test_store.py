"""What is on disk is whole, named after its content, and damage to it is said in one sentence."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earkit.runtime.errors import CheckpointError, StorageError
from earkit.runtime.search import store
from earkit.runtime.search.index import Index

MakeIndex = Callable[..., Path]


def test_what_is_written_is_read_back(make_index: MakeIndex, vectors: np.ndarray) -> None:
    folder = make_index()
    head = store.read_head(folder)
    arrays = store.read_arrays(folder, head)
    np.testing.assert_array_equal(arrays["vectors"], vectors.astype(np.float16))
    assert arrays["spans"][301].tolist() == [1, 16_000, 48_000]
    assert store.read_files(folder, head)[9] == store.SoundFile("9.wav", 1, 2, f"{9:064}")
    assert head.data == store.digest(store.read_files(folder, head), arrays)
    assert store.size(folder, head) == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def test_arrays_are_mapped_and_not_read(make_index: MakeIndex) -> None:
    folder = make_index()
    array = store.read_arrays(folder, store.read_head(folder))["vectors"]
    assert type(array) is np.ndarray
    assert isinstance(array.base, np.memmap)


def test_nothing_but_the_new_index_stays(make_index: MakeIndex) -> None:
    folder = make_index()
    old = store.read_head(folder)
    (folder / old.data / ".vectors.npy.0a1b2c3d.part").write_bytes(b"half")
    (folder / ".index.json.0a1b2c3d.part").write_bytes(b"half")
    (folder / ("0" * 16)).mkdir()
    make_index("int8")
    new = store.read_head(folder)
    assert new.data != old.data
    assert {each.name for each in folder.iterdir()} == {"index.json", new.data}
    assert not list((folder / new.data).glob(".*"))


def test_no_array_changes_without_another_name(make_index: MakeIndex) -> None:
    folder = make_index()
    head = store.read_head(folder)
    files, arrays = store.read_files(folder, head), store.read_arrays(folder, head)
    for name, array in arrays.items():
        changed = array.copy()
        changed.flat[-1] += 1
        assert store.digest(files, arrays | {name: changed}) != head.data
    assert store.digest(files[::-1], arrays) != head.data


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def to_text(file: Path) -> None:
    file.write_text("no array at all")


def pickled(file: Path) -> None:
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)


def of_another_shape(file: Path) -> None:
    np.save(file, np.load(file)[..., :-1])


def of_another_type(file: Path) -> None:
    np.save(file, np.load(file).astype(np.float64))


@pytest.mark.parametrize("name", ["spans", "signs", "code_rows"])
@pytest.mark.parametrize(
    "damage", [Path.unlink, truncate, to_text, pickled, of_another_shape, of_another_type]
)
def test_a_damaged_array_is_named(make_index: MakeIndex, name: str, damage: Callable[[Path], None]) -> None:
    folder = make_index()
    damage(folder / store.read_head(folder).data / f"{name}.npy")
    with pytest.raises(
        CheckpointError, match=rf"index .* is damaged \({name}\.npy.*kit index DIR .* --fresh"
    ):
        Index(folder)


@pytest.mark.parametrize(
    "text", ["", "[", "[1]", "[{}]", '[{"name": 1, "size": 1, "changed": 1}]', "7", "null"]
)
def test_a_damaged_list_of_files_is_named(make_index: MakeIndex, text: str) -> None:
    folder = make_index()
    (folder / store.read_head(folder).data / "files.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"is damaged \(files\.json"):
        Index(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"spans": "many"},
        {"spans": 2999},
        {"spans": True},
        {"data": "../../elsewhere"},
        {"data": None},
        {"model": {}},
        {"model": None},
        {"settings": []},
        {"pending": 0.5},
        {"unheard of": 1},
    ],
)
def test_a_head_that_cannot_be_is_damage(make_index: MakeIndex, change: dict) -> None:
    folder = make_index()
    values = json.loads((folder / "index.json").read_text()) | change
    (folder / "index.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="is damaged"):
        Index(folder)


@pytest.mark.parametrize("change", [{"vectors": "float64"}, {"window": "2"}, {"codes": 1}])
def test_settings_that_cannot_be_are_damage(make_index: MakeIndex, change: dict) -> None:
    folder = make_index()
    values = json.loads((folder / "index.json").read_text())
    values["settings"] |= change
    (folder / "index.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="is damaged"):
        Index(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"a": 1}', "\x00", "[" * 100_000])
def test_a_head_that_is_no_head_is_damage(make_index: MakeIndex, text: str) -> None:
    folder = make_index()
    (folder / "index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"is damaged \(index\.json"):
        Index(folder)


def test_a_later_version_is_refused(make_index: MakeIndex) -> None:
    folder = make_index()
    values = json.loads((folder / "index.json").read_text()) | {"version": 3}
    (folder / "index.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="version 3, and this version of earkit reads 2"):
        Index(folder)


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_no_index_is_said(tmp_path: Path, place: str) -> None:
    with pytest.raises(CheckpointError, match=r"there is no index in .*make one with `kit index"):
        Index(tmp_path / place)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match=r"holds thesis\.tex: choose another folder"):
        store.claim(tmp_path)
    with pytest.raises(StorageError, match="is a file"):
        store.claim(tmp_path / "thesis.tex")
    store.claim(tmp_path / "new")


def test_what_a_killed_run_leaves_is_ours(make_index: MakeIndex) -> None:
    folder = make_index()
    (folder / "index.json").rename(folder / ".index.json.0a1b2c3d.part")
    store.claim(folder)
    assert not store.is_index(folder)


def test_the_head_is_replaced_last(make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_index()
    before = Index(folder)

    def full(*_):
        raise StorageError("could not write: no space left")

    monkeypatch.setattr(store, "write_text", full)
    with pytest.raises(StorageError, match="no space"):
        make_index("int8")
    after = Index(folder)
    assert dataclasses.asdict(after.head) == dataclasses.asdict(before.head)
