"""The command `kit`: its verbs, its global options, and what it says when something goes wrong."""

import logging
import os
import shlex
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from earkit.cli import corpus, teachers
from earkit.cli.bench import bench
from earkit.cli.demo import demo
from earkit.cli.distill import distill
from earkit.cli.doctor import doctor
from earkit.cli.embed import embed
from earkit.cli.eval import eval_
from earkit.cli.export import ExportCommand, export
from earkit.cli.index import index
from earkit.cli.info import info
from earkit.cli.pretrain import pretrain
from earkit.cli.prune import prune
from earkit.cli.quantize import quantize
from earkit.cli.search import search
from earkit.cli.stream import stream
from earkit.cli.tokens import tokens
from earkit.runtime.errors import EarkitError
from earkit.runtime.extras import missing_extra

UNEXPECTED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_CODES = (
    "Exit codes: 0 done, 1 unexpected error, 2 usage or configuration, 3 audio or corpus, "
    "4 checkpoint or teacher, 5 storage, 6 missing extra, 7 non-finite loss, 8 out of memory, "
    "130 interrupted."
)

log = logging.getLogger("earkit.cli")

app = typer.Typer(
    epilog=EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # help and usage errors in plain text, which pipes, greps and starts at once
    pretty_exceptions_enable=False,  # `main` decides what an exception looks like
)

# One line per verb. Their modules import at the top only what is light: `kit --help` loads them all.
app.command()(pretrain)
app.command()(distill)
app.command()(prune)
app.command(cls=ExportCommand)(export)
app.command()(quantize)
app.add_typer(teachers.app, name="teachers")
app.add_typer(corpus.app, name="corpus")
app.command()(doctor)
app.command()(embed)
app.command()(tokens)
app.command()(stream)
app.command()(index)
app.command()(search)
app.command()(info)
app.command("eval")(eval_)
app.command()(bench)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"earkit {version('earkit')}")
        raise typer.Exit


@app.callback()
def kit(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only warnings on stderr.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn audio embeddings from a large teacher and hand them over as one small ONNX file."""
    if verbose and quiet:
        raise typer.BadParameter("--verbose and --quiet exclude each other")
    talk = logging.StreamHandler(sys.stderr)
    talk.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "%(message)s"))
    ours = logging.getLogger("earkit")
    ours.handlers = [talk]
    ours.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    log.setLevel(logging.DEBUG if debug else logging.NOTSET)
    _keep_root()


def _keep_root() -> None:
    """Let libraries warn, and keep them from setting up the root logger: it would say all of ours twice."""
    root = logging.getLogger()
    if not root.handlers:
        others = logging.StreamHandler(sys.stderr)
        others.setLevel(logging.WARNING)
        others.addFilter(lambda record: not record.name.startswith("earkit"))
        root.addHandler(others)


def main() -> None:
    """Run the command line; whatever ends it early is one sentence on stderr and an exit code."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`kit … | head`); the interpreter's own last flush would complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNEXPECTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except EarkitError as error:
        _end(error, str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the outermost frame: what nobody expected is reported here
        missing = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        if missing:
            _end(error, str(missing), missing.exit_code)
        _end(error, _unexpected(error), UNEXPECTED)


def _unexpected(error: Exception) -> str:
    given = [argument for argument in sys.argv[1:] if argument != "--debug"]
    command = shlex.join(["kit", "--debug", *given])
    return f"unexpected {type(error).__name__}: {error}; please report what `{command}` prints"


def _end(error: Exception, sentence: str, code: int) -> NoReturn:
    if log.level == logging.DEBUG:
        traceback.print_exception(error)
    print("kit:", " ".join(sentence.split()), file=sys.stderr)
    sys.exit(code)
