"""The command that walks manifests: it finds nothing in good corpora, and what is planted in them."""

import csv
import shutil
from pathlib import Path

import pytest

from earkit.benchmarks.tasks import leaks as command
from earkit.benchmarks.tasks.evaluate import TASKS


@pytest.fixture
def recipes_here(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small corpora have manifests, but were not built by recipes."""
    monkeypatch.setattr(command, "find", lambda recipe: (corpora / "corpora" / recipe.name).is_dir())
    return corpora


def walk(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        command.main()
    return int(str(ended.value.code)), capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("recipes_here")
def test_good_corpora(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = walk(capsys)
    assert code == 0
    assert [line.split()[0] for line in lines[: len(TASKS)]] == list(TASKS)
    assert all("nothing on two sides" in line for line in lines[: len(TASKS)])


@pytest.fixture
def own_copy(recipes_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(recipes_here / "corpora", tmp_path / "corpora")
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    return tmp_path / "corpora"


def change(manifest: Path, line: int, **fields: str) -> None:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[line].update(fields)
    with manifest.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def test_one_clip_in_two_meetings(own_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = own_copy / "speakerbox" / "manifest.csv"
    with manifest.open(newline="") as file:
        sessions = [row["session"] for row in csv.DictReader(file)]
    other = next(i for i, session in enumerate(sessions) if session != sessions[0])
    for line in (0, other):
        change(manifest, line, sha256="same")
    code, lines = walk(capsys)
    assert code == 1
    (told,) = [line for line in lines if line.startswith("speaker_identification")]
    assert "train and test: sha256 same" in told


def test_a_trained_sound_among_those_of_evaluation(
    own_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(own_copy / "tuxpaint" / "manifest.csv", 0, sha256="same", speaker="eve")
    change(own_copy / "kajongg" / "manifest.csv", 0, sha256="same")
    code, lines = walk(capsys)
    assert code == 1
    assert any("tuxpaint (train) and kajongg (evaluation) share 1 x sha256 (same)" in line for line in lines)


def test_what_is_not_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    code, lines = walk(capsys)
    assert code == 0
    assert len(lines) == len(TASKS)
    assert all("kit corpus get" in line for line in lines)
