"""`kit export`: a distilled student becomes one verified model file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earkit.runtime.model_file import Latency


def export(
    place: Annotated[
        Path | None, typer.Argument(help="Run or student folder; without it, the newest run in runs/.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; default <run>/<name>.onnx.")] = None,
    outputs: Annotated[
        str | None,
        typer.Option(help="Only these, by comma: embedding, frames, tokens, sparse, scores; default all."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Of a student distilled with --elastic, the first so many blocks.")
    ] = None,
    codebook: Annotated[
        int | None, typer.Option(help="Give tokens of this one, from 0; default last.")
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Make a step graph: frames and tokens of a stream.")
    ] = False,
    mobile: Annotated[
        bool, typer.Option("--mobile", help="Write an .ort file too, and the operators that it needs.")
    ] = False,
    web: Annotated[bool, typer.Option("--web", help="Refuse what browsers do not run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Write a student as one ONNX file, verified against torch, with its card beside it."""
    from earkit.cli.progress import say
    from earkit.export.mobile import for_phones, refuse_for_browsers
    from earkit.export.student import export_student

    asked = tuple(name.strip() for name in outputs.split(",")) if outputs is not None else ()
    made = export_student(
        place, out, outputs=asked, depth=depth, codebook=codebook, streaming=streaming, say=say
    )
    files = [made.file, made.card]
    if web:
        refuse_for_browsers(made.info)
    if mobile:
        phone = for_phones(made.file)
        files += [phone.file, phone.required_operators]
    drift = max(made.info.drift.values())
    say(f"{made.info.megabytes:.2f} MB, at most {drift:.1e} from torch; {_speed(made.info.latency)}")
    described = {"files": [str(file) for file in files], **json.loads(made.info.to_json())}
    print(json.dumps(described) if as_json else made.file)


def _speed(latency: tuple["Latency", ...]) -> str:
    timed = [
        f"{each.milliseconds:.1f} ms for {each.seconds:g} s of audio, threads: {each.threads}"
        for each in latency
    ]
    return "; ".join(timed) or "not timed: it runs in steps"
