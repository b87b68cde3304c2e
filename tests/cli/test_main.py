"""How `kit` ends: one sentence on stderr, the right exit code, the traceback only when asked for."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

from earkit.cli.main import app, main
from earkit.runtime.errors import (
    ConfigError,
    EarkitError,
    MissingExtraError,
    NonFiniteLossError,
    StorageError,
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; `verb` is added to it as `kit verb`."""
    ours = logging.getLogger("earkit")
    monkeypatch.setattr(ours, "handlers", [])
    monkeypatch.setattr(ours, "level", ours.level)

    def run(*arguments: str, verb: Callable[[], None] | None = None) -> tuple[int, str, str]:
        if verb is not None:
            monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
            app.command("verb")(verb)
        monkeypatch.setattr(sys, "argv", ["kit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def raising(error: BaseException) -> Callable[[], None]:
    def verb() -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    "kind", [EarkitError, ConfigError, StorageError, MissingExtraError, NonFiniteLossError]
)
def test_a_deliberate_error_is_one_sentence_and_its_code(kit: Run, kind: type[EarkitError]) -> None:
    code, out, err = kit("verb", verb=raising(kind("the frobs are\n  gone; bring them back")))
    assert (code, out, err) == (kind.exit_code, "", "kit: the frobs are gone; bring them back\n")


def test_debug_shows_the_traceback_and_keeps_the_code(kit: Run) -> None:
    code, _, err = kit("--debug", "verb", verb=raising(ConfigError("no such size")))
    assert code == ConfigError.exit_code
    assert err.startswith("Traceback")
    assert err.endswith("\nkit: no such size\n")


def test_a_missing_package_of_an_extra_names_the_install_line(kit: Run) -> None:
    absent = ModuleNotFoundError("No module named 'torch'", name="torch")
    code, _, err = kit("verb", verb=raising(absent))
    assert code == MissingExtraError.exit_code
    assert "pip install 'earkit[train]'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "bug", [ZeroDivisionError("division by zero"), ModuleNotFoundError("No module named 'gone'", name="gone")]
)
def test_a_bug_asks_to_be_reported_with_the_exact_command(kit: Run, bug: Exception) -> None:
    code, _, err = kit("-q", "verb", verb=raising(bug))
    assert code == 1
    assert (
        err
        == f"kit: unexpected {type(bug).__name__}: {bug}; please report what `kit --debug -q verb` prints\n"
    )


def test_the_command_to_report_holds_debug_once(kit: Run) -> None:
    _, _, err = kit("--debug", "verb", verb=raising(ZeroDivisionError("division by zero")))
    assert err.endswith("please report what `kit --debug verb` prints\n")


def test_ctrl_c_ends_quietly_as_shells_expect(kit: Run) -> None:
    assert kit("verb", verb=raising(KeyboardInterrupt())) == (130, "", "")


@pytest.mark.parametrize("arguments", [["doctor", "--jsno"], ["docter"], ["--loud"], ["-v", "-q", "doctor"]])
def test_typos_and_contradictions_are_refused(kit: Run, arguments: list[str]) -> None:
    code, out, err = kit(*arguments)
    assert code == 2
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


def test_version(kit: Run) -> None:
    assert kit("--version") == (0, f"earkit {version('earkit')}\n", "")


@pytest.mark.parametrize(
    ("flag", "said"),
    [(None, ["info", "warning"]), ("--quiet", ["warning"]), ("--verbose", ["debug", "info", "warning"])],
)
def test_the_librarys_log_goes_to_stderr_by_level(kit: Run, flag: str | None, said: list[str]) -> None:
    def verb() -> None:
        log = logging.getLogger("earkit.distill.anything")
        for level in ("debug", "info", "warning"):
            getattr(log, level)("%s", level)

    code, out, err = kit(*([flag] if flag else []), "verb", verb=verb)
    assert (code, out) == (0, "")
    assert [line.split()[-1] for line in err.splitlines()] == said


@pytest.mark.skipif(os.name != "posix", reason="Windows reports a closed pipe in its own way")
@pytest.mark.parametrize("argument", ["--help", "doctor"])  # typer prints the one, we the other
def test_a_reader_that_goes_away_is_no_reason_to_complain(argument: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "earkit.cli", argument]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=buffered, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_as_a_module_it_is_the_same_command() -> None:
    command = [sys.executable, "-m", "earkit.cli", "--version"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(b"earkit ")


def test_what_libraries_log_does_not_double_what_we_log(kit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    def verb() -> None:
        logging.info("of a library")  # noqa: LOG015 - sets up the root logger where nobody has
        logging.getLogger("library").warning("a library warns")
        logging.getLogger("earkit.verb").warning("once")

    code, out, err = kit("verb", verb=verb)
    assert (code, out, err) == (0, "", "a library warns\nonce\n")
