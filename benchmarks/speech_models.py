"""Models of real speech for the table of peers: a DinoSR teacher, three students, and their int8 files.

    kit corpus get --train
    python -m earkit.benchmarks.peers get speech_embedding ecapa moonshine
    python -m earkit.benchmarks.speech_models [dinosr|of_dinosr|of_published|of_all …] [--steps 6000]
    python -m earkit.benchmarks.speech_models of_all --ship tiny

The teacher learns from all training corpora on this machine, without labels. Of the `tiny` students one
learns from it alone, one from three published models, and one from all four. It takes hours on two cores;
what was trained is kept, and what was begun goes on. With names, only those are made: `of_published` needs
no teacher of ours, so it can be trained beside it. `peers_quality` takes all that are there. `--ship` puts
the int8 file of one student among the models that come with earkit, with the scores it has there.
"""

import argparse
import csv
import dataclasses
import io
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import onnx
import torch

from earkit.benchmarks import results
from earkit.benchmarks.corpora.build import MANIFEST, corpora_folder, find
from earkit.benchmarks.corpora.sets import choose
from earkit.benchmarks.evaluation import of_row
from earkit.compress.calibration_clips import clips_of_run
from earkit.compress.quantize import quantize
from earkit.distill.dinosr import DinoSR, save_teacher
from earkit.distill.distillation import distil, distil_config
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.pretrain import load_config, pretrain
from earkit.distill.run_folder import open_run
from earkit.export.student import export_student
from earkit.runtime.atomic import write_text
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import DataError
from earkit.runtime.find_model import BUILT_IN
from earkit.runtime.model_file import read_model_file
from earkit.runtime.write_model_file import write_model_file

TEACHER = [
    "model.depth=4",
    "model.codebook_size=64",
    "model.ema_end=0.9995",
    "model.ema_anneal_steps=4000",
    "data.augment.band=0.3",
    "save_every=500",
    "log_every=100",
]
"""`dinosr_nano`, one layer deeper and so wider, with more codewords and a slower average: there is more to
learn. The bandwidth of a recording must not tell its language, so wide ones are narrowed at random."""
STUDENT = [
    "losses.tinybert.weight=10",
    "losses.tinybert.without_codes=1",
    "spans.per_clip=3",
    "data.augment.band=0.3",
    "save_every=250",
    "log_every=100",
    "probe_every=0",
]
"""The teachers have heard far more than a student can, and clips are short: fewer spans of each."""
OURS = "dinosr"
PUBLISHED = ("moonshine", "ecapa", "speech_embedding")
STUDENTS = {"of_dinosr": (OURS,), "of_published": PUBLISHED, "of_all": (OURS, *PUBLISHED)}
"""By run: its teachers."""
PRICED = {OURS, "of_dinosr"}
"""What they cost is in the table of peers even where they are not trained."""


def runs_folder() -> Path:
    """Where these runs lie, unless said otherwise."""
    return cache_folder() / "speech"


def manifest_of_all(place: Path) -> Path:
    """Join the manifests of all training corpora that are on this machine; paths lead to where they lie."""
    rows: list[dict[str, str]] = []
    for recipe in choose((), ("train",)):
        if find(recipe):
            folder = corpora_folder() / recipe.name
            with (folder / MANIFEST).open(encoding="utf-8", newline="") as lines:
                rows += [row | {"path": str(folder / row["path"])} for row in csv.DictReader(lines)]
    if not rows:
        raise DataError("there is no training corpus here: fetch them with `kit corpus get --train`")
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(place, text.getvalue())
    return place


def teacher_run(run: Path, manifest: Path, steps: int) -> Path:
    """Train the teacher, unless it is there."""
    if not (run / "teacher" / "config.json").is_file():
        config = load_config("dinosr_nano", [*TEACHER, f"steps={steps}"])
        pretrain(config, open_run(run, config, manifest, fresh=False, say=_say), run, report=_say, say=_say)
    return run


def student_run(run: Path, manifest: Path, teachers: Sequence[str], steps: int) -> Path:
    """Train a student, unless it is there."""
    if not (run / "student" / "student.json").is_file():
        overrides = [*STUDENT, f"steps={steps}"]
        config = distil_config("general", teachers=teachers, student="tiny", overrides=overrides)
        distil(config, open_run(run, config, manifest, fresh=False, say=_say), run, report=_say, say=_say)
    return run


def files_of(run: Path) -> tuple[Path, Path]:
    """Say where a student's model files lie: float, and int8."""
    return run / f"{run.name}.onnx", run / f"{run.name}-int8.onnx"


def made(runs: Path | None = None) -> dict[str, str]:
    """Give what was trained, by name: the teacher, and the model files of students."""
    runs = runs or runs_folder()
    files = {file.stem: file for name in STUDENTS for file in files_of(runs / name) if file.is_file()}
    teacher = {OURS: runs / OURS} if (runs / OURS / "teacher" / "config.json").is_file() else {}
    return {name: str(place) for name, place in (teacher | files).items()}


def untrained(folder: Path) -> dict[str, Path]:
    """Write the teacher and its student with random weights: what they cost does not depend on these.

    Their bytes are the same each time, so that they can be known again.
    """
    torch.manual_seed(0)
    shape = load_config("dinosr_nano", TEACHER).model
    save_teacher(DinoSR(shape), folder / OURS)
    config = distil_config("general", teachers=[OURS], student="tiny", overrides=STUDENT)
    outputs = Outputs(config.matryoshka.dims, shape.codebooks, shape.codebook_size, config.losses.csr)
    (name,) = PRICED - {OURS}
    student = DistilledStudent(config.student, outputs).eval()
    save_student(student, folder / name / "student", Provenance(name=name, teachers=STUDENTS[name]))
    file = export_student(folder / name).file
    unmeasured = dataclasses.replace(read_model_file(file), drift={}, latency=(), machine="")
    write_model_file(file, onnx.load(file), unmeasured)
    return {OURS: folder / OURS, name: file}


def export(run: Path) -> tuple[Path, Path]:
    """Export a student as float and as int8, as `kit export --int8` does, unless they are there."""
    file, small = files_of(run)
    if not file.is_file():
        export_student(run, file)
    if not small.is_file():
        clips = clips_of_run(run)
        assert clips is not None
        quantize(file, clips, goal="speed", out=small, say=_say)
    return file, small


def ship(file: Path, place: Path) -> None:
    """Put a model file among those that come with earkit, under its name there; its card gets its scores."""
    info = read_model_file(file)
    cells = [of_row(row) for row in results.load("peers_quality")["rows"] if row["model"] == file.stem]
    scores = {f"{s.task}: {s.metric}": round(s.value, 3) for cell in cells if (s := cell.headline)}
    info = dataclasses.replace(info, name=place.stem, quality=info.quality | scores)
    write_model_file(place, onnx.load(file), info)


def _say(report: object) -> None:
    print(report, file=sys.stderr, flush=True)


def main() -> None:
    """Train and export what is missing, and say where it lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--student-steps", type=int, default=3_000)
    parser.add_argument("--runs", type=Path, default=runs_folder())
    parser.add_argument("--ship", metavar="NAME", help="under which name the int8 file comes with earkit")
    given = parser.parse_args()
    everyone = [OURS, *STUDENTS]
    for name in given.names:
        if name not in everyone:
            parser.error(f"there is no run {name}: name {', '.join(everyone)}")
    if given.ship:
        if len(given.names) != 1 or given.names[0] not in STUDENTS:
            parser.error(f"--ship takes one of {', '.join(STUDENTS)}")
        ship(files_of(given.runs / given.names[0])[1], BUILT_IN / f"{given.ship}.onnx")
        return
    manifest = manifest_of_all(given.runs / "training.csv")
    ours = partial(teacher_run, given.runs / OURS, manifest, given.steps)
    for name in given.names or everyone:
        if name == OURS:
            print(ours())
            continue
        places = [str(ours()) if each == OURS else each for each in STUDENTS[name]]
        print(*export(student_run(given.runs / name, manifest, places, given.student_steps)), sep="\n")


if __name__ == "__main__":
    main()
