"""The ranges that activations have: what static quantization must know beforehand.

optimum's `CalibrationConfig` says how, onnxruntime's calibrators do it. optimum's `ORTQuantizer.fit` is not
used: it wants a dataset of its own kind, and it holds every activation of every clip at once, for its
`partial_fit` forgets the clips before.
"""

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import HistogramCalibrater, HistogramCollector
from optimum.onnxruntime.configuration import CalibrationConfig

from earkit.compress.graph import WEIGHING, Samples, heard, open_graph
from earkit.runtime.inference import Arrays

Method = Literal["min-max", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("min-max", "entropy", "percentile")
Ranges = dict[str, tuple[float, float]]
"""Smallest and largest value of a tensor that is worth telling apart, by name."""

_OPTIONS: dict[Method, dict[str, Any]] = {
    "min-max": {"method": CalibrationMethod.MinMax},
    "entropy": {"method": CalibrationMethod.Entropy, "num_bins": 1024, "num_quantized_bins": 128},
    "percentile": {"method": CalibrationMethod.Percentile, "num_bins": 2048, "percentile": 99.999},
}


def by_all_methods(proto: onnx.ModelProto, sounds: Sequence[Samples]) -> dict[Method, Ranges]:
    """Calibrate in every way."""
    found: dict[Method, Ranges] = {}
    for method in METHODS:  # min-max first
        found[method] = calibrate(proto, sounds, method, found.get("min-max"))
    return found


def calibrate(
    proto: onnx.ModelProto, sounds: Sequence[Samples], method: Method, whole: Ranges | None = None
) -> Ranges:
    """Run sounds, each alone, and look at what goes into and comes out of every node with weights.

    whole: what `min-max` gave, where that is known.
    """
    config = CalibrationConfig("clips", "", "", len(sounds), **_OPTIONS[method])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "float.onnx"
        onnx.save(proto, file)
        calibrator = config.create_calibrator(
            file, list(WEIGHING), augmented_model_name=str(Path(folder) / "augmented.onnx")
        )
        session = open_graph(proto)
        with redirect_stdout(io.StringIO()):  # the calibrators print
            if isinstance(calibrator, HistogramCalibrater):
                calibrator.collector = _histograms(calibrator, whole or calibrate(proto, sounds, "min-max"))
            for sound in sounds:
                for inputs, _ in heard(session, sound):
                    calibrator.collect_data(_Reader(inputs))
            found = calibrator.compute_data()
    ends = {name: [np.asarray(end).item() for end in data.range_value] for name, data in found.items()}
    return {name: cast("tuple[float, float]", tuple(pair)) for name, pair in ends.items()}


def _histograms(like: HistogramCalibrater, whole: Ranges) -> HistogramCollector:
    """Begin histograms that are as wide as all that will come.

    Else the first sound decides on their bins: after one that is silent there would be billions.
    """
    names = ("method", "symmetric", "num_bins", "num_quantized_bins", "percentile", "scenario")
    collector = HistogramCollector(**{name: getattr(like, name) for name in names})
    collector.collect({name: [np.array(ends, np.float32)] for name, ends in whole.items()})
    return collector


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime publishes no types
    """One run: of several, the calibrators want all to be of one length."""

    def __init__(self, inputs: Arrays) -> None:
        self._left = iter([inputs])

    def get_next(self) -> Arrays | None:
        return next(self._left, None)
