"""Quantization: a float model file becomes the fastest or the smallest one that passes the gate.

For speed: int8 arithmetic, dynamic or static. For size: those, and whatever stores less.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import onnx

from earkit.compress.bias_correction import corrected
from earkit.compress.calibration import METHODS, Ranges, by_all_methods
from earkit.compress.calibration_clips import CalibrationClips
from earkit.compress.fidelity import Fidelity, Parent
from earkit.compress.gate import Candidate, Goal, Measured, best, measure, unlike
from earkit.compress.graph import JUDGED_BY, Samples
from earkit.compress.int8 import dynamic_int8, static_int8
from earkit.compress.invariance import invariance
from earkit.compress.sensitivity import mixed_int8, sensitivities
from earkit.compress.weight_storage import eight_bits, four_bits, half
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import ConfigError
from earkit.runtime.machine import machine
from earkit.runtime.model_file import Latency, ModelInfo, read_model_file
from earkit.runtime.paired_latency import SECONDS
from earkit.runtime.write_model_file import card_of, refuse_place, write_model_file

PACKAGES = ("earkit", "onnx", "onnxruntime", "optimum", "optimum-onnx")
SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Of the nodes that mixed plans leave in float; the first that passes is the last that is tried."""

Say = Callable[[str], None]
Tried = list[tuple[Candidate, Fidelity]]


@dataclass(frozen=True)
class Quantized:
    """What was written, and all that was tried."""

    file: Path
    card: Path
    info: ModelInfo
    chosen: str
    """Name of the way that was taken; empty where none pays and the float file is kept."""
    rows: tuple[Measured, ...]


def quantize(
    model: Path,
    clips: CalibrationClips,
    *,
    goal: Goal = "speed",
    folder: Path | None = None,
    out: Path | None = None,
    say: Say = lambda _: None,
) -> Quantized:
    """Write the best that passes the gate and its card; where nothing does, the float file stays.

    out: the file; without it, <model>-int8.onnx (or -int4, -float16) beside it. folder: of a model in a
    passing place, where it is to be, by the name that it gives itself; a float file that stays goes there.
    """
    info = read_model_file(model)
    _refuse(info, model, out)
    refuse_place(out or (folder or model.parent) / "quantized.onnx")
    proto = onnx.load(model)
    tried = try_all(Parent(proto, clips), goal, say)
    say("timing all, in turns")
    candidates, fidelities = zip(*tried, strict=True)
    winner, rows = verified(measure(proto, candidates, fidelities, goal), goal)
    suffix = f"-{winner.candidate.weights}" if winner else ""
    file = out or (folder or model.parent) / f"{info.name if folder else model.stem}{suffix}.onnx"
    if winner:
        onnx.checker.check_model(winner.candidate.proto, full_check=True)
        info = write_model_file(file, winner.candidate.proto, describe(info, winner))
    elif file != model:
        with replacing(file) as temporary:
            shutil.copyfile(model, temporary)
        write_text(card_of(file), info.card)
    return Quantized(file, card_of(file), info, winner.candidate.name if winner else "", rows)


def _refuse(info: ModelInfo, model: Path, out: Path | None) -> None:
    """Refuse what cannot be quantized, before any work."""
    if out is not None and out.absolute() == model.absolute():
        raise ConfigError(f"--out {out} would replace the float file: give it another name")
    if model.suffix != ".onnx":
        raise ConfigError(f"{model} is not an .onnx file: quantize the one that it was made of")
    if info.samples:
        raise ConfigError(f"{info.name} is of one shape, for phones: quantize the file that it was made of")
    if info.precision != ModelInfo.precision:
        raise ConfigError(
            f"{info.name} is {info.precision} already: quantize the float file that it was made of"
        )
    if not set(JUDGED_BY) & set(info.outputs):
        raise ConfigError(
            f"{info.name} gives only {', '.join(info.outputs)}, by which a quantized file cannot be judged: "
            "export it with --outputs that name embedding, frames or scores too"
        )


def try_all(parent: Parent, goal: Goal, say: Say = lambda _: None) -> Tried:
    """Quantize in every way that may serve the goal, and compare each with the float graph."""
    proto, sounds = parent.proto, calibrated(parent.clips)

    def compare(candidate: Candidate) -> tuple[Candidate, Fidelity]:
        say(f"tried {candidate.name}")
        return candidate, parent.compare(candidate.proto)

    ranges = by_all_methods(proto, sounds)
    static = [
        compare(Candidate(f"static int8, {method}", "int8", static_int8(proto, found)))
        for method, found in ranges.items()
    ]
    tried = [compare(Candidate("dynamic int8", "int8", dynamic_int8(proto))), *static]
    truest = max(range(len(static)), key=lambda i: static[i][1].cosine)
    found = ranges[METHODS[truest]]
    if all(unlike(fidelity) for _, fidelity in static):
        for candidate in rescued(proto, found, sounds):
            tried.append(compare(candidate))
            if not unlike(tried[-1][1]):
                break
    if goal == "size":
        tried += [compare(candidate) for candidate in small(proto, found, sounds)]
    return tried


def verified(rows: tuple[Measured, ...], goal: Goal) -> tuple[Measured | None, tuple[Measured, ...]]:
    """Take the best that keeps the invariance promise on all lengths by which export verifies a graph.

    Gives it, and the rows with what that check has found.
    """
    while winner := best(rows, goal):
        least = min(winner.fidelity.together, invariance(winner.candidate.proto))
        fidelity = dataclasses.replace(winner.fidelity, together=least)
        judged = dataclasses.replace(winner, fidelity=fidelity, refusal=unlike(fidelity))
        rows = tuple(judged if row is winner else row for row in rows)
        if not judged.refusal:
            return judged, rows
    return None, rows


def calibrated(clips: CalibrationClips) -> list[Samples]:
    """Every second sound is enough for ranges; probes are trained on all."""
    return [sound.samples for sound in clips.calibration[::2]]


def rescued(proto: onnx.ModelProto, ranges: Ranges, sounds: list[Samples]) -> Iterator[Candidate]:
    """Make static int8 truer, at first without loss of speed."""
    yield Candidate(
        "static int8, biases corrected", "int8", corrected(proto, lambda p: static_int8(p, ranges), sounds)
    )
    lost = sensitivities(proto, ranges, sounds)
    for share in SHARES:
        name = f"static int8, {share:.1%} of the nodes in float"
        yield Candidate(name, "int8", mixed_int8(proto, ranges, lost, share))


def small(proto: onnx.ModelProto, ranges: Ranges, sounds: list[Samples]) -> Iterator[Candidate]:
    """Store less, for the size alone."""
    yield Candidate("float16 storage", "float16", half(proto))
    yield Candidate("int8 storage", "int8", half(eight_bits(proto)))
    four = corrected(proto, lambda p: four_bits(static_int8(p, ranges)), sounds)
    yield Candidate("int4 storage, static int8", "int4", four)
    yield Candidate("int4 storage, static int8, rest float16", "int4", half(four))


def describe(info: ModelInfo, chosen: Measured) -> ModelInfo:
    """Describe the quantized file by its parent's description and what was measured."""
    fidelity = chosen.fidelity
    judged = next(name for name in JUDGED_BY if name in info.outputs)
    drift = {judged: 1 - fidelity.cosine, f"{judged}, worst": 1 - fidelity.worst_cosine}
    drift |= {f"{judged}, in {'steps' if info.stream else 'a batch'}": 1 - fidelity.together}
    drift |= {"tokens": 1 - fidelity.tokens} if fidelity.tokens is not None else {}
    drift |= {"frames": fidelity.frames} if fidelity.frames is not None else {}
    return dataclasses.replace(
        info,
        name=f"{info.name}-{chosen.candidate.weights}",
        precision=chosen.candidate.name,
        quality=info.quality
        | {f"{task}, of float": round(kept, 4) for task, kept in fidelity.probes.items()},
        drift={name: round(max(value, 0.0), 6) for name, value in drift.items()},
        latency=tuple(Latency(SECONDS, s.threads, round(s.milliseconds, 3)) for s in chosen.speeds),
        machine=machine(),
        versions=info.versions | {name: version(name) for name in PACKAGES},
    )
