"""Export: a distilled student of a run becomes one verified model file, with its card beside it."""

import dataclasses
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path

import onnx
import torch

from earkit.distill.distilled import (
    WEIGHTS,
    DistilledStudent,
    Provenance,
    find_student,
    load_student,
    run_meant,
    run_of,
)
from earkit.distill.front_end import FRAME, HOP, LEAD, WINDOW
from earkit.distill.student import StudentConfig
from earkit.export.graph import OPSET, Selection, clip_graph, select
from earkit.export.streaming import stream_graph, verify_stream
from earkit.export.verify import verify
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.checksum import sha256
from earkit.runtime.errors import CheckpointError
from earkit.runtime.machine import machine
from earkit.runtime.model_file import SCHEMA, Latency, ModelInfo, Sparse, Tokens
from earkit.runtime.paired_latency import SECONDS, paired_latency
from earkit.runtime.write_model_file import card_of, refuse_place, write_model_file

PACKAGES = ("earkit", "torch", "onnx", "onnxscript", "onnxruntime")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    file: Path
    card: Path
    info: ModelInfo


def export_student(
    place: Path | None = None,
    out: Path | None = None,
    *,
    outputs: Sequence[str] = (),
    depth: int | None = None,
    codebook: int | None = None,
    streaming: bool = False,
    say: Say = lambda _: None,
) -> Exported:
    """Write the model file of a student and its card, or nothing.

    place: run or student folder; without it, the newest run in `runs`, which is said. out: the file; without
    it, <name>.onnx in the run. outputs, depth, codebook: see `select`.
    """
    folder = find_student(run_meant(place, say))
    model, provenance = load_student(folder)
    _refuse_not_finite(model, folder)
    selection = select(model, outputs, depth, codebook, streaming=streaming)
    name = provenance.name + (f"-depth{depth}" if depth else "") + ("-stream" if streaming else "")
    file = out or run_of(folder) / f"{name}.onnx"
    refuse_place(file)
    if streaming:
        proto, stream = stream_graph(model, selection)
        drift = verify_stream(proto, model, selection)
    else:
        proto, stream = clip_graph(model, selection), None
        drift = verify(proto, model, selection)
    info = dataclasses.replace(
        _description(model, selection, provenance, proto),
        name=name,
        stream=stream,
        drift=drift,
        latency=(_latency(proto),),
        machine=machine(),
        parent_sha256=sha256(folder / WEIGHTS),
    )
    return Exported(file, card_of(file), write_model_file(file, proto, info))


def _latency(proto: onnx.ModelProto) -> Latency:
    """Time 10 s of audio on one thread, of a step graph in steps of 80 ms."""
    ((milliseconds, _),) = paired_latency([proto], threads=1)
    return Latency(SECONDS, 1, round(milliseconds, 3))


def _refuse_not_finite(model: DistilledStudent, folder: Path) -> None:
    for name, weight in model.state_dict().items():
        if not bool(torch.isfinite(weight).all()):
            raise CheckpointError(f"{name} of the student in {folder} is not finite: distil it again")


def _description(
    model: DistilledStudent, selection: Selection, provenance: Provenance, proto: onnx.ModelProto
) -> ModelInfo:
    """Describe the graph; what is measured comes later."""
    has, config = model.outputs, model.config
    context, lookahead = reach(config, selection.depth)
    sparse = has.sparse if "sparse" in selection.outputs else None
    tokens = Tokens(selection.codebook, has.codebooks, has.codebook_size)
    floats = [each for each in proto.graph.initializer if each.data_type == onnx.TensorProto.FLOAT]
    return ModelInfo(
        schema=SCHEMA,
        name=provenance.name,
        outputs=tuple(put.name for put in proto.graph.output if not put.name.startswith("next_")),
        dim=config.embedding_dim,
        frame_dim=config.dim,
        sample_rate=SAMPLE_RATE,
        hop=FRAME,
        lookahead=lookahead,
        context=context,
        dims=has.dims or (config.embedding_dim,),
        tokens=tokens if "tokens" in selection.outputs else None,
        sparse=Sparse(sparse.width, sparse.k, sparse.k_min, sparse.k_max) if sparse else None,
        classes=has.classes if "scores" in selection.outputs else (),
        depth=selection.depth,
        parameters=sum(prod(each.dims) for each in floats),
        teachers=tuple(Path(teacher).name for teacher in provenance.teachers),  # no paths of the machine
        data=Path(provenance.data).name,
        licences=provenance.licences,
        audio_seconds=provenance.audio_seconds,
        steps=provenance.steps,
        quality=provenance.figures,
        opset=OPSET,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )


def reach(config: StudentConfig, depth: int) -> tuple[int, int]:
    """Count samples before a frame's beginning and behind its end that decide it after `depth` blocks."""
    back = ahead = 0
    for block in range(1, depth + 1):
        if config.block != "attention":
            back, ahead = back + config.kernel - 1 - config.kernel_ahead, ahead + config.kernel_ahead
        if config.attends(block):
            back, ahead = back + config.attention_back, ahead + config.attention_ahead
    overlap = (config.stem - 4) // 2 * HOP
    return back * FRAME + overlap + LEAD, ahead * FRAME + overlap + WINDOW - HOP - LEAD
