"""The cache folder is where each platform keeps such things, and a user may move it."""

import sys
from pathlib import Path

import pytest

from earkit.runtime.cache import cache_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EARKIT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "below_home"),
    [
        ("linux", ".cache/earkit"),
        ("darwin", "Library/Caches/earkit"),
        ("win32", "AppData/Local/earkit/cache"),
    ],
)
def test_each_platform_has_its_place(
    home: Path, monkeypatch: pytest.MonkeyPatch, platform: str, below_home: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == home / below_home
    assert not cache_folder().exists()  # asking creates nothing


@pytest.mark.parametrize(
    ("platform", "variable", "below"),
    [("linux", "XDG_CACHE_HOME", "earkit"), ("win32", "LOCALAPPDATA", "earkit/cache")],
)
def test_the_platforms_variable_moves_it_unless_it_is_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, below: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    usual = cache_folder()
    monkeypatch.setenv(variable, "")
    assert cache_folder() == usual
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    assert cache_folder() == home / "elsewhere" / below


def test_ours_moves_it_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    monkeypatch.setenv("EARKIT_CACHE", "~/mine")
    assert cache_folder() == home / "mine"
