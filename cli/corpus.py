"""`kit corpus`: make the corpora that earkit learns and is tested on."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Make synthetic speech to try things out with.",
    rich_markup_mode=None,
)


@app.callback()
def corpus() -> None:
    """Make synthetic speech to try things out with."""


@app.command()
def synth(
    out: Annotated[
        Path, typer.Argument(help="Folder to make; it appears whole or not at all, and is reused as it is.")
    ],
    minutes: Annotated[
        float,
        typer.Option(help="Length of all clips together, to within seconds; an hour takes about a minute."),
    ] = 60.0,
    speakers: Annotated[
        int, typer.Option(help="Invented voices; a quarter of them speak in the test split only.")
    ] = 48,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same files; another one, other voices and words.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Write synthetic speech with word, phone and speaker labels: FLAC files and manifest.csv.

    No human speaks in it. It serves demonstrations and tests; a model trained on it has learned a
    synthesizer.
    """
    from earkit.cli.progress import say
    from earkit.distill.speech.synthetic_corpus import read_labels, write_corpus
    from earkit.runtime.audio import SAMPLE_RATE

    say("this corpus is synthetic: computed voices, no human speech")
    manifest = write_corpus(out, minutes=minutes, speakers=speakers, seed=seed, progress=_show)
    clips = read_labels(manifest)
    summary = {
        "manifest": str(manifest),
        "clips": len(clips),
        "minutes": round(sum(clip.samples for clip in clips) / SAMPLE_RATE / 60, 2),
        "speakers": len({clip.speaker for clip in clips}),
    }
    print(json.dumps(summary) if as_json else _text(summary))


def _show(done: float) -> None:
    """Keep one living line on a terminal; a pipe needs none of it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[Ksynthesizing {done:4.0%}", end="\n" if done == 1 else "", file=sys.stderr, flush=True)


def _text(summary: Mapping[str, object]) -> str:
    return "\n".join(f"{name:<10}{value}" for name, value in summary.items())
