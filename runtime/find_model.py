"""Which file a model's name means: a built-in one, a file, or the newest export of a run."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from earkit.runtime.errors import CheckpointError
from earkit.runtime.model_file import ModelInfo, read_model_file

log = logging.getLogger(__name__)

BUILT_IN = Path(__file__).parent / "models"
"""Models that come with earkit: package data, each <name>.onnx or <name>.ort, with its card <name>.md."""
DEFAULT = "tiny"
KINDS = (".onnx", ".ort")


def built_in() -> dict[str, Path]:
    """Models that come with earkit, by name."""
    return {file.stem: file for file in model_files(BUILT_IN.glob("*"))}


def find_model(model: str | Path | None = None, runs: Path = Path("runs")) -> Path:
    """Give the file that is meant.

    A plain name is a built-in model's before anything else; then come a file, a run folder, whose newest
    export is taken, and the name of a run in `runs`. Without one it is the built-in `tiny`. What was chosen
    is logged; that a built-in model hides a run of the same name is a warning.
    """
    ours = built_in()
    if model is None:
        log.info("taking the model %s that comes with earkit", DEFAULT)
        return ours[DEFAULT]
    if str(model) in ours:
        if (hidden := runs / model).is_dir():
            log.warning("taking the model %s that comes with earkit: that of a run is %s", model, hidden)
        return ours[str(model)]
    place = Path(model)
    if place.is_file():
        return place
    for folder in (place, runs / place):
        if export := newest(folder.glob("*"), _is_of_clips):
            log.info("taking the model %s", export)
            return export
    if place.is_dir():
        raise CheckpointError(
            f"there is no model file of whole clips in {place}: make one with `kit export {place}`"
        )
    raise CheckpointError(
        f"there is no model {model}: give an .onnx or .ort file, a run folder, or a built-in model "
        f"({', '.join(sorted(ours))})"
    )


def newest_export(runs: Path = Path("runs")) -> Path | None:
    """Find the model file of whole clips that was written last in any run."""
    return newest(runs.glob("*/*"), _is_of_clips)


def newest(files: Iterable[Path], fits: Callable[[ModelInfo], bool]) -> Path | None:
    """Find the model file that was written last, of those whose description fits.

    A name says nothing: each is opened until one fits, which takes 50 ms for one of 10 MB. One that cannot be
    read as a model of ours is passed over, which is said; where no other fits, that is the error.
    """
    unread: list[CheckpointError] = []
    for file in reversed(model_files(files)):
        try:
            info = read_model_file(file)
        except CheckpointError as error:
            unread.append(error)
            continue
        if fits(info):
            for each in unread:
                log.warning("passed over: %s", each)
            return file
    if unread:
        raise unread[0]
    return None


def _is_of_clips(info: ModelInfo) -> bool:
    return info.stream is None and not info.samples


def model_files(files: Iterable[Path]) -> list[Path]:
    """Keep model files, by their names; the newest is the last."""
    named = (file for file in files if file.suffix in KINDS and not file.name.startswith("."))
    found = [file for file in named if file.is_file()]
    return sorted(found, key=lambda file: (file.stat().st_mtime, file.name))
