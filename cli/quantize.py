"""`kit quantize`: the fastest or smallest file that is still the same model, or none."""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earkit.cli.options import AsJson
from earkit.runtime.text_table import text_table

if TYPE_CHECKING:
    from earkit.compress.calibration_clips import CalibrationClips
    from earkit.compress.gate import Measured
    from earkit.compress.quantize import Quantized


class Goal(StrEnum):
    """What is to be gained."""

    speed = "speed"
    size = "size"


def quantize(
    place: Annotated[
        Path | None,
        typer.Argument(help="Float model file, or run; without it, the newest run in runs/."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; default <name>-int8.onnx beside it.")] = None,
    goal: Annotated[
        Goal, typer.Option(help="The fastest file, or the smallest one, which may store 4 bits.")
    ] = Goal.speed,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder or manifest of sounds to calibrate and measure on; default the run's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Quantize in several ways, measure each against the float file, and write the best that passes."""
    if place is not None and place.suffix == ".onnx":
        made = of_file(place, out, goal, calibration)
    else:
        made = of_run(place, out, goal, calibration)
    answer(made, as_json=as_json)


def of_file(model: Path, out: Path | None, goal: Goal, calibration: Path | None) -> "Quantized":
    """Quantize a model file with the clips of the run in whose folder it lies."""
    from earkit.cli.progress import say
    from earkit.compress.quantize import quantize as best_of
    from earkit.runtime.model_file import read_model_file

    read_model_file(model)  # a file that is none is refused before any clip is read
    return best_of(model, _clips(model.parent, calibration), goal=goal.value, out=out, say=say)


def of_run(
    place: Path | None,
    out: Path | None,
    goal: Goal,
    calibration: Path | None,
    **options: Any,  # noqa: ANN401
) -> "Quantized":
    """Export a run with these options to a place that does not last, and quantize that."""
    from earkit.cli.progress import say
    from earkit.compress.quantize import quantize as best_of
    from earkit.distill.distilled import find_student, load_student, run_meant, run_of
    from earkit.export.graph import select
    from earkit.export.student import export_student
    from earkit.runtime.write_model_file import refuse_place

    place = run_meant(place, say)
    student = find_student(place)
    folder = run_of(student)
    refuse_place(out or folder / "quantized.onnx")
    select(load_student(student)[0], **options)  # what cannot be exported is refused before any clip is read
    clips = _clips(folder, calibration)
    with tempfile.TemporaryDirectory() as passing:
        exported = export_student(place, Path(passing) / "float.onnx", **options)
        return best_of(exported.file, clips, goal=goal.value, folder=folder, out=out, say=say)


def _clips(folder: Path, calibration: Path | None) -> "CalibrationClips":
    from earkit.cli.progress import say
    from earkit.compress.calibration_clips import clips_of, clips_of_run, embedded_clips

    clips = clips_of(calibration) if calibration else clips_of_run(folder)
    if clips is None:
        say("no clips are known of this model: calibrating on the built-in synthetic speech")
        clips = embedded_clips()
    return clips


def answer(made: "Quantized", files: Sequence[Path] = (), *, as_json: bool) -> None:
    """Show what was tried, say what came of it, and print the file."""
    from earkit.cli.progress import say

    say(table(made.rows))
    say(_outcome(made))
    if as_json:
        rows = [_plain(row) for row in made.rows]
        told = {"files": [str(each) for each in (made.file, made.card, *files)], "chosen": made.chosen}
        print(json.dumps(told | {"rows": rows} | json.loads(made.info.to_json())))
    else:
        print(made.file)


def _outcome(made: "Quantized") -> str:
    if made.chosen:
        return f"taking {made.chosen}: {made.info.megabytes:.2f} MB"
    return (
        "none of them pays on this processor, so the float file is kept; for a smaller file give --int8=size "
        "to kit export, or --goal size to kit quantize"
    )


def table(rows: "Sequence[Measured]") -> str:
    """Align what was measured of all candidates, for people."""
    tasks = list(rows[0].fidelity.probes)
    threads = [speed.threads for speed in rows[0].speeds]
    lines = [
        (
            "",
            "MB",
            *(f"ms, threads: {n} (x float)" for n in threads),
            "cosine",
            "worst",
            "tokens",
            *tasks,
            "",
        )
    ]
    for row in rows:
        kept = row.fidelity
        speeds = (f"{each.milliseconds:.1f} ({each.times_float:.2f})" for each in row.speeds)
        tokens = "" if kept.tokens is None else f"{kept.tokens:.3f}"
        probes = (f"{kept.probes[task]:.3f}" for task in tasks)
        cosines = (f"{kept.cosine:.4f}", f"{kept.worst_cosine:.4f}")
        refusal = f"refused: {row.refusal}" if row.refusal else "passes"
        lines.append(
            (row.candidate.name, f"{row.megabytes:.2f}", *speeds, *cosines, tokens, *probes, refusal)
        )
    return text_table(lines, left=(0, -1))


def _plain(row: "Measured") -> dict[str, Any]:
    """Give a row for JSON, without its graph."""
    return {
        "name": row.candidate.name,
        "weights": row.candidate.weights,
        "megabytes": round(row.megabytes, 3),
        "speeds": [dataclasses.asdict(speed) for speed in row.speeds],
        **dataclasses.asdict(row.fidelity),
        "refusal": row.refusal,
    }
