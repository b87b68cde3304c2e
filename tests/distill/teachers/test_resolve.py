"""From a name to a teacher: what is here first, then the network, and only for released names."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from earkit.distill.teachers.official import import_official
from earkit.distill.teachers.resolve import KnownTeacher, find, known, load_teacher_by_name, resolve
from earkit.runtime.errors import CheckpointError, TeacherNotFoundError

OFFICIAL = Path(__file__).parents[2] / "data" / "dinosr_official"
NOWHERE = "http://127.0.0.1:1/dinosr.ckpt"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EARKIT_DINOSR_URL", NOWHERE)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served; the released checkpoint is to lie there as dinosr.ckpt."""
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        monkeypatch.setenv("EARKIT_DINOSR_URL", f"http://127.0.0.1:{server.server_address[1]}/dinosr.ckpt")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield folder
        server.shutdown()
        thread.join(5)


def publish(site: Path, trace: str) -> None:
    (site / "dinosr.ckpt").write_bytes((OFFICIAL / trace / "dinosr_official_layout.pt").read_bytes())


def teacher(folder: Path) -> Path:
    """Make what `find` takes for a teacher."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_paths_and_runs(here: Path, tmp_path: Path) -> None:
    folder = teacher(tmp_path / "elsewhere" / "wavlm")
    assert find(folder) == folder
    run = teacher(here / "runs" / "x" / "teacher")
    assert find("runs/x") == Path("runs/x/teacher")
    assert find("x").resolve() == run
    assert find(here / "runs" / "x") == run


def test_a_run_comes_before_the_cache_and_the_cache_before_a_download(here: Path, tmp_path: Path) -> None:
    cached = teacher(tmp_path / "cache" / "teachers" / "dinosr_base")
    assert resolve("dinosr_base") == cached
    assert list(known()) == [KnownTeacher("dinosr_base", "cache", str(cached))]
    teacher(here / "runs" / "dinosr_base" / "teacher")
    assert resolve("dinosr_base") == Path("runs/dinosr_base/teacher")
    assert list(known()) == [KnownTeacher("dinosr_base", "run", "runs/dinosr_base/teacher")]


def test_what_is_no_teacher(here: Path) -> None:
    (here / "runs" / "young" / "checkpoints").mkdir(parents=True)
    with pytest.raises(
        CheckpointError, match="run without a teacher yet: finish it with `kit pretrain --out runs/young`"
    ):
        resolve("young")
    (here / "music").mkdir()
    with pytest.raises(CheckpointError, match="music is no teacher"):
        resolve("music")
    (here / "dinosr.ckpt").touch()
    with pytest.raises(CheckpointError, match="kit teachers import"):
        resolve("dinosr.ckpt")


@pytest.mark.parametrize(
    "name", ["unheard_of", "../../cache/teachers/dinosr_base", "dinosr_base", "/nowhere"]
)
def test_offline_the_ways_on_are_named(name) -> None:
    with pytest.raises(TeacherNotFoundError) as caught:
        resolve(name)
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    for way in ("`kit pretrain --config dinosr_base`", "`kit teachers import`", "path of a teacher folder"):
        assert way in message


def test_a_cached_name_cannot_climb(tmp_path: Path) -> None:
    teacher(tmp_path / "cache" / "secret")
    assert find("../secret") is None


def test_download_import_and_use(site: Path, tmp_path: Path) -> None:
    publish(site, "padded")
    assert next(known()).where == "download"
    loaded, _ = load_teacher_by_name("dinosr_base")
    assert (loaded.name, loaded.layers, loaded.dim, loaded.info().codebooks) == ("dinosr_base", 3, 32, 2)
    cache = tmp_path / "cache" / "teachers"
    assert sorted(path.name for path in cache.iterdir()) == ["dinosr_base", "dinosr_base.ckpt.sha256"]
    (site / "dinosr.ckpt").unlink()
    assert resolve("dinosr_base") == cache / "dinosr_base"  # for good, without the network


def test_a_changed_file_is_refused(site: Path, tmp_path: Path) -> None:
    publish(site, "padded")
    folder = resolve("dinosr_base")
    pin = tmp_path / "cache" / "teachers" / "dinosr_base.ckpt.sha256"
    folder.rename(tmp_path / "away")

    publish(site, "unpadded")
    with pytest.raises(CheckpointError, match="has changed since its first use and is refused"):
        resolve("dinosr_base")
    assert not folder.exists()
    pin.unlink()
    assert resolve("dinosr_base") == folder


def test_a_bad_file_leaves_nothing_behind(site: Path, tmp_path: Path) -> None:
    (site / "dinosr.ckpt").write_bytes(b"<html>moved</html>")
    with pytest.raises(CheckpointError, match="no torch checkpoint"):
        resolve("dinosr_base")
    assert list((tmp_path / "cache" / "teachers").iterdir()) == []
    publish(site, "padded")
    assert resolve("dinosr_base").is_dir()


def test_an_imported_folder_loads_by_its_path(here: Path) -> None:
    import_official(OFFICIAL / "padded" / "dinosr_official_layout.pt", here / "mine")
    assert load_teacher_by_name("mine")[0].layers == 3
