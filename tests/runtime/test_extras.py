"""What is missing is answered with the command that installs it."""

import re
import tomllib
from pathlib import Path

import pytest

from earkit.runtime.errors import MissingExtraError
from earkit.runtime.extras import EXTRAS, install_line, missing_extra, missing_modules

# Where the module is not the distribution's name with underscores.
MODULES = {"scikit-learn": "sklearn", "optimum-onnx": "optimum"}


def test_the_modules_are_those_of_pyproject() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    declared = {
        extra: {
            MODULES.get(name, name.replace("-", "_"))
            for name in (re.split(r"[<>=! \[]", line)[0] for line in requirements)
        }
        for extra, requirements in project["optional-dependencies"].items()
        if extra != "dev"
    }
    assert {extra: set(modules) for extra, modules in EXTRAS.items()} == declared


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "train"),
        ("optimum.onnxruntime", "train"),
        ("sklearn.linear_model", "bench"),
        ("usearch", "search"),
    ],
)
def test_a_failed_import_names_the_extra(module: str, extra: str) -> None:
    error = missing_extra(ModuleNotFoundError(f"No module named '{module}'", name=module))
    assert isinstance(error, MissingExtraError)
    assert f"'{module}'" in str(error)
    assert str(error).endswith(f"run: pip install 'earkit[{extra}]'")


@pytest.mark.parametrize("name", ["torchish", "earkit.distill.gone", None])
def test_any_other_failed_import_is_not_ours_to_explain(name: str | None) -> None:
    assert missing_extra(ModuleNotFoundError("No module", name=name)) is None


def test_missing_modules_are_those_that_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "bench", ("json", "no_such_module_anywhere"))
    assert missing_modules("bench") == ["no_such_module_anywhere"]


def test_the_install_line_survives_a_shell() -> None:
    assert install_line("train") == "pip install 'earkit[train]'"
