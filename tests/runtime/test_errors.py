"""The family of deliberate errors: each refines a builtin, ends `kit` with a code, and is documented."""

import builtins
import inspect
import re
from pathlib import Path

import pytest

from earkit.cli.main import EXIT_CODES
from earkit.runtime import errors
from earkit.runtime.errors import EarkitError

DOCUMENT = Path(__file__).parents[2] / "docs" / "exit-codes.md"
FAMILY = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, EarkitError) and member is not EarkitError
]


@pytest.mark.parametrize("error", FAMILY)
def test_each_refines_exactly_one_builtin(error: type[EarkitError]) -> None:
    refined = [base for base in error.__bases__ if getattr(builtins, base.__name__, None) is base]
    assert len(refined) == 1
    assert refined[0] is not Exception
    with pytest.raises(refined[0]):
        raise error("what, where, how to fix")


@pytest.mark.parametrize("error", FAMILY)
def test_the_sentence_is_what_str_gives(error: type[EarkitError]) -> None:
    # OSError and ImportError have constructors of their own that could take it apart.
    assert str(error("what, where, how to fix")) == "what, where, how to fix"


def test_codes_leave_alone_what_shells_and_argument_parsers_use() -> None:
    assert EarkitError.exit_code == 1
    assert all(2 <= error.exit_code < 64 for error in FAMILY)


def test_the_document_names_every_class_beside_its_code() -> None:
    rows = re.findall(
        r"^\| (\d+) \|.*\| (.*?) ?\|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    documented = {name: int(code) for code, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert documented == {error.__name__: error.exit_code for error in [EarkitError, *FAMILY]}


def test_the_help_names_the_same_codes_as_the_document() -> None:
    in_document = re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert re.findall(r"(\d+) \w", EXIT_CODES) == in_document


def test_a_reason_is_one_line_of_what_was_said() -> None:
    assert errors.reason(ValueError("bad\n  shape:\t(3, 4)\n")) == "bad shape: (3, 4)"
    assert errors.reason(ValueError("x" * 500)) == "x" * 200
