"""Shell completion, asked as bash asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from earkit.cli.main import app

KIT = Path(sys.executable).parent / "kit"


def complete(line: str) -> list[str]:
    """Ask for what may follow a line; a blank at its end begins another word."""
    asked = {"_KIT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run([KIT], env=os.environ | asked, capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_every_verb() -> None:
    verbs = typer.main.get_group(app).commands
    assert set(complete("kit ")) == set(verbs)
    assert complete("kit toke") == ["tokens"]


def test_options_and_their_values() -> None:
    assert {"--out", "--output", "--on-error"} <= set(complete("kit embed --o"))
    assert set(complete("kit embed --output ")) == {"embedding", "frames", "tokens", "sparse", "scores"}
    assert complete("kit embed --on-error s") == ["skip"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_in_a_shell() -> None:
    script = (
        f'PATH="{KIT.parent}:$PATH"; source <(_KIT_COMPLETE=source_bash kit); '
        "COMP_WORDS=(kit do); COMP_CWORD=1; _kit_completion kit; echo ${COMPREPLY[@]}; complete -p kit"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["doctor", "complete -o default -F _kit_completion kit"], done.stderr
