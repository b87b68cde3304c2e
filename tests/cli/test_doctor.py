"""`kit doctor` tells what is there, what is missing and how to get it, and breaks on nothing."""

import importlib
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from earkit.cli import doctor as doctor_module
from earkit.cli.doctor import diagnose
from earkit.cli.main import app
from earkit.runtime.extras import EXTRAS
from earkit.runtime.find_model import built_in


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "not made yet" / "cache"))
    return tmp_path / "not made yet" / "cache"


def break_module(monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception) -> None:
    def load(name: str) -> ModuleType:
        if name == broken:
            raise error
        return importlib.import_module(name)

    monkeypatch.setattr(doctor_module, "import_module", load)


def test_json_answers_with_facts(cache: Path) -> None:
    answer = CliRunner().invoke(app, ["doctor", "--json"])
    assert answer.exit_code == 0
    facts = json.loads(answer.stdout)
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["numpy"] == version("numpy")
    assert "CPUExecutionProvider" in facts["providers"]
    assert {"wav", "flac"} <= set(facts["decoders"])
    assert facts["cpu"]["threads"] >= 1
    assert facts["cache"]["folder"] == str(cache)
    assert facts["cache"]["free_bytes"] > 0
    assert facts["problems"] == []
    assert not cache.parent.exists()  # looking made nothing


def test_text_says_the_same() -> None:
    answer = CliRunner().invoke(app, ["doctor"])
    lines = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())
    assert lines["numpy"] == version("numpy")
    assert "CPUExecutionProvider" in lines["providers"]
    assert {f"earkit[{extra}]" for extra in EXTRAS} <= set(lines)


def test_a_missing_extra_comes_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "search", ("no_such_module_anywhere",))
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 0  # an extra is optional
    assert "missing no_such_module_anywhere; run: pip install 'earkit[search]'" in answer.stdout


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("soundfile", OSError("sndfile library not found")),
        ("onnxruntime", ImportError("GLIBC_2.99 not found")),
    ],
)
def test_a_broken_base_package_is_a_problem_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception
) -> None:
    break_module(monkeypatch, broken, error)
    answer = CliRunner().invoke(app, ["doctor", "--json"])
    assert answer.exit_code == 1
    (problem,) = json.loads(answer.stdout)["problems"]
    assert str(error) in problem
    assert f"pip install --force-reinstall {broken}" in problem
    assert "problem" in CliRunner().invoke(app, ["doctor"]).stdout


def test_a_cache_that_cannot_be_made_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "file" / "cache"))
    (problem,) = diagnose().problems
    assert "EARKIT_CACHE" in problem


def test_models_are_found_and_damaged_ones_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_model: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = [model.name for model in diagnose().models]
    assert len(ours) == len(built_in())
    (tmp_path / "runs" / "owl").mkdir(parents=True)
    (tmp_path / "runs" / "owl" / "owl.onnx").write_bytes(clip_model.read_bytes())
    found = diagnose()
    assert found.problems == []
    megabytes = round(clip_model.stat().st_size / 1e6, 2)
    assert found.models[len(ours) :] == [
        doctor_module.Model("runs/owl/owl.onnx", "loudness", "float32", megabytes)
    ]
    assert "runs/owl/owl.onnx, float32" in CliRunner().invoke(app, ["doctor"]).stdout
    (tmp_path / "runs" / "owl" / "half.onnx").write_bytes(clip_model.read_bytes()[:500])
    (problem,) = diagnose().problems
    assert "runs/owl/half.onnx" in problem
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


def test_torch_is_looked_for_but_not_imported() -> None:
    script = "import sys; from earkit.cli.doctor import diagnose; diagnose(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
