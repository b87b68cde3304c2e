"""`kit embed`: sound files become vectors."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earkit.cli.options import Threads
from earkit.cli.progress import CountLine, say

if TYPE_CHECKING:
    from earkit.runtime.corpus_run import Tally
    from earkit.runtime.embedder import Embedder

OutputName = Literal["embedding", "frames", "tokens", "sparse", "scores"]
OnError = Literal["skip", "fail"]

Places = Annotated[list[Path], typer.Argument(help="Sound files, or folders of them.", show_default=False)]
Model = Annotated[
    str | None,
    typer.Option(help="Built-in name, model file, or run; without it, the built-in `tiny`."),
]


def embed(
    places: Places,
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A .npz, .npy, .parquet or .jsonl; without it, lines on stdout."),
    ] = None,
    output: Annotated[OutputName, typer.Option(help="What to compute.")] = "embedding",
    dim: Annotated[
        int | None, typer.Option(help="Cut embeddings to this width, one they were trained for.")
    ] = None,
    k: Annotated[int | None, typer.Option(help="Latents of a sparse code.")] = None,
    on_error: Annotated[
        OnError, typer.Option(help="At a file that cannot be used: end, or leave it out and say so.")
    ] = "fail",
    threads: Threads = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer in JSON; without --out, it is JSON anyway.")
    ] = False,
) -> None:
    """Embed sound files; the same command again goes on where a run to --out was killed."""
    from earkit.runtime.corpus_run import embed_corpus
    from earkit.runtime.embedder import Embedder
    from earkit.runtime.vector_files import check_kind

    if out is not None:
        check_kind(out, output)
    sounds = find(places)
    embedder = Embedder.load(model, threads=threads)
    if out is None:
        say(_text(_print_lines(embedder, sounds, output, dim, k, on_error)))
        return
    progress = CountLine("embedding")
    tally = embed_corpus(
        embedder, sounds, out, output=output, dim=dim, k=k, on_error=on_error, progress=progress, say=say
    )
    for reason in tally.skipped.values():
        say(f"left out: {reason}")
    say(_text(tally))
    summary = {"out": str(out), "model": str(embedder.path), "output": output, **dataclasses.asdict(tally)}
    print(json.dumps(summary) if as_json else out)


def _print_lines(
    embedder: "Embedder",
    sounds: dict[str, Path],
    output: OutputName,
    dim: int | None,
    k: int | None,
    on_error: OnError,
) -> "Tally":
    from earkit.runtime.corpus_run import Tally
    from earkit.runtime.errors import AudioError
    from earkit.runtime.vector_files import json_line

    tally = Tally()
    answers = embedder.embed_iter(
        sounds.values(),
        dim=dim,
        output=output,
        k=k,
        on_error="raise" if on_error == "fail" else "yield",
        heard=lambda _, heard: tally.hear(heard),
    )
    for name, (_, answer) in zip(sounds, answers, strict=True):
        if isinstance(answer, AudioError):
            tally.skipped[name] = str(answer)
            say(f"left out: {answer}")
        else:
            print(json_line(name, output, answer))
    tally.refuse_nothing()
    return tally


def find(places: Sequence[Path]) -> dict[str, Path]:
    """Find sound files by name, and say what is not taken."""
    from earkit.runtime.sound_files import find_sounds

    found = find_sounds(places)
    if found.doubles:
        say(f"files named more than once are taken once: {found.doubles}")
    for suffix, count in found.foreign.items():
        say(f"not taken, a format that cannot be read: {count} {suffix}")
    return found.paths


def _text(tally: "Tally") -> str:
    done = {"resampled": tally.resampled, "averaged to mono": tally.averaged, "clipped": tally.clipped}
    counts = [f"{count} {what}" for what, count in (done | {"left out": len(tally.skipped)}).items() if count]
    files = f"{tally.embedded} file{'s' * (tally.embedded != 1)}"
    return f"{files}, {tally.seconds:.1f} s of audio" + "".join(f"; {text}" for text in counts)
