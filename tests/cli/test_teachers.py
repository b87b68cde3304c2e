"""`kit teachers` as a person or a script calls it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earkit.cli.teachers import app, show_download
from earkit.runtime.errors import CheckpointError, TeacherNotFoundError

OFFICIAL = Path(__file__).parents[1] / "data" / "dinosr_official" / "padded" / "dinosr_official_layout.pt"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EARKIT_DINOSR_URL", "http://127.0.0.1:1/dinosr.ckpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kit(*arguments: str) -> str:
    answer = CliRunner().invoke(app, arguments)
    if answer.exception:
        raise answer.exception
    return answer.stdout


def test_import_info_and_list(here: Path) -> None:
    facts = json.loads(kit("import", str(OFFICIAL), "runs/imported/teacher", "--json"))
    assert (facts["family"], facts["layers"], facts["dim"], facts["hop"]) == ("dinosr", 3, 32, 320)
    assert (facts["codebooks"], facts["codebook_size"], facts["sample_rate"]) == (2, 8, 16_000)
    weights = here / "runs" / "imported" / "teacher" / "model.safetensors"
    assert weights.stat().st_size / 4 == pytest.approx(facts["parameters"], rel=0.2)
    assert facts["bytes"] > weights.stat().st_size

    assert json.loads(kit("info", "imported", "--json")) == facts
    assert "codebooks" in kit("info", "imported")
    listed = json.loads(kit("list", "--json"))
    assert [(teacher["name"], teacher["where"]) for teacher in listed] == [
        ("imported", "run"),
        ("dinosr_base", "download"),
    ]
    assert "imported" in kit("list").splitlines()[0]


def test_info_downloads_nothing() -> None:
    with pytest.raises(TeacherNotFoundError, match="kit teachers import"):
        kit("info", "dinosr_base")


def test_a_bad_file(here: Path) -> None:
    (here / "x.pt").write_text("no")
    with pytest.raises(CheckpointError, match="no torch checkpoint"):
        kit("import", "x.pt", "out")
    assert not (here / "out").exists()


def test_a_download_is_told_once_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    for done in (0, 2**20, 2 * 2**20):
        show_download(done, 2 * 2**20)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "fetched 2 MiB\n")
