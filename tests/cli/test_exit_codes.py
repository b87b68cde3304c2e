"""The page on exit codes lists every error and every code, as they are."""

import re
from pathlib import Path

import pytest

from earkit.cli.main import EXIT_CODES, INTERRUPTED, UNEXPECTED
from earkit.runtime import errors
from earkit.runtime.errors import EarkitError

PAGE = Path(__file__).parents[2] / "docs" / "exit-codes.md"
ROWS = dict(re.findall(r"^\| (\d+) \| (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, EarkitError)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_stands_at_its_code(error: type[EarkitError]) -> None:
    assert [code for code, row in ROWS.items() if f"`{error.__name__}`" in row] == [str(error.exit_code)]


def test_every_code_is_there_and_in_the_help() -> None:
    codes = {0, UNEXPECTED, INTERRUPTED, *(error.exit_code for error in ALL)}
    assert codes <= set(map(int, ROWS))
    assert {int(code) for code in re.findall(r"\b(\d+) ", EXIT_CODES)} == codes


def test_errors_keep_the_builtins_they_refine() -> None:
    for error in ALL:
        assert error is EarkitError or len(error.__bases__) == 2, error
