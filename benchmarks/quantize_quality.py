"""What does each way to quantize cost, and what does it bring? All of them, by the gate and by other probes.

    python -m earkit.benchmarks.quantize_quality [--seeds 1] [--steps 300]

For each seed a `tiny` student of a `dinosr_nano` teacher on the embedded corpus, exported and quantized in
every way, those that `kit quantize` would not try included: mixed plans, and onnxruntime's MatMulNBits. Times
are medians of one run in which all take turns, clips of 10 s. Probes of frames and word retrieval are on
speakers that neither training nor calibration heard.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from onnxruntime.quantization.onnx_model import ONNXModel

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.probes import Featurise
from earkit.benchmarks.results import Cells, Row
from earkit.compress.calibration import calibrate
from earkit.compress.calibration_clips import CalibrationClips, clips_of_run
from earkit.compress.fidelity import Parent
from earkit.compress.gate import Candidate, Measured, measure
from earkit.compress.graph import open_graph, run, weights
from earkit.compress.quantize import calibrated, rescued, try_all
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.export.student import export_student

NAME = "quantize_quality"
BLOCK = 64


def exported(student_run: Path) -> onnx.ModelProto:
    """Give the float graph of a student."""
    with tempfile.TemporaryDirectory() as folder:
        return onnx.load(export_student(student_run, Path(folder) / "float.onnx").file)


def blockwise(proto: onnx.ModelProto, bits: Literal[4, 8]) -> onnx.ModelProto:
    """Let onnxruntime's own operator multiply by weights in blocks; other weights stay float."""
    split = ONNXModel(deepcopy(proto))
    split.replace_gemm_with_matmul()
    own = weights(split.model)
    quantizer = MatMulNBitsQuantizer(
        split.model,
        nodes_to_exclude=[node.name for node in split.model.graph.node if node.name not in own],
        algo_config=DefaultWeightOnlyQuantConfig(
            block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=bits
        ),
    )
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    return made


def further(parent: Parent) -> Iterator[Candidate]:
    """Make what `kit quantize` does not try, or only where all else fails; the float graph for comparison."""
    proto, sounds = parent.proto, calibrated(parent.clips)
    yield Candidate("float32", "float32", proto)
    yield Candidate("MatMulNBits, 8 bits", "int8", blockwise(proto, 8))
    yield Candidate("MatMulNBits, 4 bits", "int4", blockwise(proto, 4))
    yield from rescued(proto, calibrate(proto, sounds, "min-max"), sounds)


def graph_features(proto: onnx.ModelProto) -> Featurise:
    """Frames of 40 ms, each twice: the grid of the probes is 20 ms."""
    session = open_graph(proto)

    def featurise(samples: bench.Array) -> Mapping[str, bench.Array]:
        return {"frames": run(session, [samples])["frames"][0].repeat(2, axis=0)}

    return featurise


def quality(proto: onnx.ModelProto, manifest: Path, seed: int) -> dict[str, float]:
    """Probe frames, and search words by embeddings."""
    session = open_graph(proto)

    def embed(clips: list[bench.Array]) -> bench.Array:
        return np.concatenate([run(session, [clip])["embedding"] for clip in clips])

    vectors = {
        "words": embed([word.samples for word in bench.test_words(manifest)]),
        "utterances": embed([each.samples for each in bench.test_utterances(manifest)]),
    }
    probes = bench.probes(manifest, graph_features(proto), seed)
    return probes | bench.embedding_scores(vectors, manifest, seed)


def all_ways(proto: onnx.ModelProto, clips: CalibrationClips) -> tuple[Measured, ...]:
    """Try everything, and time it in turns."""
    parent = Parent(proto, clips)
    tried = try_all(parent, "size", print)
    tried += [(each, parent.compare(each.proto)) for each in further(parent)]
    candidates, fidelities = zip(*tried, strict=True)
    return measure(proto, candidates, fidelities, "size")


def plain(row: Measured) -> dict[str, Any]:
    """Give what is stored of a row."""
    fidelity = row.fidelity
    return {
        "megabytes": round(row.megabytes, 3),
        "milliseconds": {str(speed.threads): round(speed.milliseconds, 2) for speed in row.speeds},
        "times_float": {str(speed.threads): round(speed.times_float, 3) for speed in row.speeds},
        "cosine": round(fidelity.cosine, 5),
        "worst_cosine": round(fidelity.worst_cosine, 5),
        "together": round(fidelity.together, 5),
        "tokens": round(fidelity.tokens or 0.0, 4),
        "frames": round(fidelity.frames or 0.0, 4),
        "probes": {task: round(kept, 4) for task, kept in fidelity.probes.items()},
        "refusal": row.refusal,
    }


def rows_of(student_run: Path, seed: int, manifest: Path) -> Iterator[Row]:
    """Quantize one student, and probe what comes of it."""
    clips = clips_of_run(student_run)
    assert clips is not None
    for row in all_ways(exported(student_run), clips):
        scores = quality(row.candidate.proto, manifest, seed)
        yield {"name": row.candidate.name, "seed": seed, **plain(row), **scores}


def main() -> None:
    """Measure the seeds that are missing, and store each."""
    given = bench.options(__doc__, seeds=1).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny", seconds=10)
    for seed in range(given.seeds):
        if not cells.find(seed=seed):
            student = bench.default_run(given.runs, seed, manifest, given.steps)
            cells.keep(rows_of(student, seed, manifest))


if __name__ == "__main__":
    main()
