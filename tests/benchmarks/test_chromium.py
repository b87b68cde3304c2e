"""A browser is found where it is installed, or unpacked of Debian's packages; or a sentence says why not."""

import re
from pathlib import Path

import pytest

from earkit.benchmarks import chromium
from earkit.benchmarks.chromium import PACKAGE, find_chromium
from earkit.runtime.errors import ConfigError, DataError

# Of `apt-get --simulate`: an installed package that is renewed has its old version in brackets.
PLAN = """Reading package lists...
Inst libogg0 (1.3.5-3 Debian:12/oldstable [amd64])
Inst libflac12 [1.4.2-1] (1.4.2+ds-2 Debian:12/oldstable [amd64])
Inst chromium-headless-shell (156.0-1 Debian-Security:12/oldstable-security [amd64])
Conf libogg0 (1.3.5-3 Debian:12/oldstable [amd64])"""


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch) -> None:
    """No browser, no apt, an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHROMIUM", raising=False)


def stand_in(tmp_path: Path, name: str, script: str) -> Path:
    program = tmp_path / "bin" / name
    program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def debian(tmp_path: Path) -> Path:
    """Stand-ins for apt-get, which writes down what it is asked, and dpkg, which unpacks what Debian has."""
    said = tmp_path / "said"
    (tmp_path / "plan").write_text(PLAN, encoding="utf-8")
    answers = (
        f'echo "$@" >> {said}\n'
        f'case "$*" in *--simulate*) cat {tmp_path}/plan;; *" download "*) touch a.deb b.deb;; esac'
    )
    stand_in(tmp_path, "apt-get", answers)
    unpack = (
        '[ "$1" = -x ] || exit 1\n'
        'mkdir -p "$3/usr/lib/chromium" "$3/usr/lib/x86_64-linux-gnu/pulseaudio" "$3/usr/share"\n'
        f'touch "$3/usr/lib/chromium/{PACKAGE}" "$3/usr/lib/x86_64-linux-gnu/pulseaudio/libcommon.so"\n'
        'touch "$3/usr/lib/x86_64-linux-gnu/libogg.so.0" "$3/usr/share/readme"'
    )
    stand_in(tmp_path, "dpkg", unpack)
    return said


def test_the_variable_comes_first(tmp_path, monkeypatch):
    stand_in(tmp_path, "chromium", "")
    own = stand_in(tmp_path, "my-browser", "")
    monkeypatch.setenv("CHROMIUM", "my-browser")
    assert find_chromium().program == own
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(ConfigError, match="CHROMIUM is /nowhere/chromium, which is no program"):
        find_chromium()


def test_then_an_installed_one(tmp_path):
    installed = stand_in(tmp_path, "google-chrome", "")
    assert find_chromium().program == installed
    assert find_chromium().libraries == ()


def test_then_that_of_debian_once(tmp_path, monkeypatch):
    said = debian(tmp_path)
    found = find_chromium()
    root = tmp_path / "cache" / "chromium"
    assert found.program == root / "usr/lib/chromium" / PACKAGE
    libraries = root / "usr/lib/x86_64-linux-gnu"
    assert set(found.libraries) == {libraries, libraries / "pulseaudio"}
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    assert found.environment["LD_LIBRARY_PATH"].split(":")[-1] == "/own"
    assert str(libraries) in found.environment["LD_LIBRARY_PATH"].split(":")
    update, plan, download = said.read_text(encoding="utf-8").splitlines()
    assert update.endswith(" update")
    assert plan.endswith(f"install {PACKAGE}")
    assert download.endswith(" download libogg0 libflac12 chromium-headless-shell")
    # Nothing of the system's is written: lists and archives are in a folder of our own.
    for line in (update, plan, download):
        places = re.findall(r"Dir::\S+=(\S+)", line)
        assert len(places) == 2
        assert all(Path(place).is_relative_to(tmp_path / "cache") for place in places)
    stand_in(tmp_path, "apt-get", "exit 1")
    assert find_chromium() == found


def test_a_fetch_that_fails_leaves_nothing(tmp_path):
    debian(tmp_path)
    stand_in(tmp_path, "apt-get", "echo W: old >&2; echo E: Unable to locate package >&2; exit 100")
    with pytest.raises(DataError, match=r"cannot be fetched \(E: Unable to locate package\): install it"):
        find_chromium()
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DataError, match="no Chromium on this machine and no apt-get"):
        find_chromium()
    stand_in(tmp_path, "apt-get", "")
    with pytest.raises(DataError, match="no Chromium on this machine and no dpkg"):
        find_chromium()
    (tmp_path / "cache" / "chromium").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is not there: remove .*chromium, so that it is fetched again"):
        find_chromium()


def test_the_package_is_among_the_programs():
    assert PACKAGE in chromium.PROGRAMS
