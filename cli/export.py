"""`kit export`: a distilled student becomes one verified model file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from earkit.cli import quantize
from earkit.cli.options import AsJson
from earkit.cli.quantize import Goal

if TYPE_CHECKING:
    from earkit.runtime.model_file import Latency, ModelInfo


class ExportCommand(TyperCommand):
    """Lets `--int8` stand alone, as `--int8=speed`: typer has no options whose value may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer hides its class
        """Give it the value."""
        return super().parse_args(ctx, ["--int8=speed" if each == "--int8" else each for each in args])


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
    int8: Annotated[
        Goal | None,
        typer.Option(
            "--int8",
            metavar="[=size]",
            help="Quantize: <name>-int8.onnx, the fastest file; with =size the smallest, maybe of 4 bits.",
            show_choices=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Of --int8: sounds to calibrate and measure on; default the run's.")
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Make a step graph: frames and tokens of a stream.")
    ] = False,
    mobile: Annotated[
        bool,
        typer.Option(
            "--mobile",
            help="Write an .ort file too, the operators that it needs, and a file of one shape for NNAPI "
            "and CoreML, with onnxruntime's check of that.",
        ),
    ] = False,
    mobile_seconds: Annotated[
        float, typer.Option(help="Of --mobile: audio that the file of one shape takes.", min=0.04, max=60)
    ] = 5.0,
    web: Annotated[bool, typer.Option("--web", help="Refuse what browsers do not run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a student as one ONNX file, verified against torch, with its card beside it."""
    from earkit.cli.progress import say
    from earkit.export.student import export_student

    asked = tuple(name.strip() for name in outputs.split(",")) if outputs is not None else ()
    if calibration and not int8:
        raise typer.BadParameter("--calibration is of --int8: give that too")
    if int8:
        smaller = quantize.of_run(
            place, out, int8, calibration, outputs=asked, depth=depth, codebook=codebook, streaming=streaming
        )
        further = _further(smaller.file, smaller.info, mobile_seconds if mobile else None, web=web)
        quantize.answer(smaller, further, as_json=as_json)
        return
    made = export_student(
        place, out, outputs=asked, depth=depth, codebook=codebook, streaming=streaming, say=say
    )
    files = [
        made.file,
        made.card,
        *_further(made.file, made.info, mobile_seconds if mobile else None, web=web),
    ]
    drift = max(made.info.drift.values())
    say(f"{made.info.megabytes:.2f} MB, at most {drift:.1e} from torch; {_speed(made.info.latency)}")
    described = {"files": [str(file) for file in files], **json.loads(made.info.to_json())}
    print(json.dumps(described) if as_json else made.file)


def _further(file: Path, info: "ModelInfo", mobile_seconds: float | None, *, web: bool) -> list[Path]:
    """Do what else was asked for; gives the files that this made."""
    from earkit.cli.progress import say
    from earkit.export.mobile import for_phones, refuse_for_browsers

    if web:
        refuse_for_browsers(info)
    if mobile_seconds is None:
        return []
    phone = for_phones(file, mobile_seconds)
    for each in phone.usability:
        lacking = f"; lacks {', '.join(each.lacking)}" if each.lacking else ""
        say(
            f"{each.accelerator}: worth a try: {each.advice}; {each.taken} of {each.nodes} nodes of "
            f"{phone.fixed.name} in {each.partitions} partitions{lacking}"
        )
    return phone.files


def _speed(latency: tuple["Latency", ...]) -> str:
    return "; ".join(
        f"{each.milliseconds:.1f} ms for {each.seconds:g} s of audio, threads: {each.threads}"
        for each in latency
    )
