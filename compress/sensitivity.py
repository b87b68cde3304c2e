"""Which nodes suffer most from 8 bits? Each is quantized alone, and the embedding's loss is its sensitivity.

A mixed plan leaves the worst ones in float.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from earkit.compress.calibration import Ranges
from earkit.compress.fidelity import vectors
from earkit.compress.graph import Samples, open_graph, run, weights
from earkit.compress.int8 import static_int8

SOUNDS = 8


def sensitivities(proto: onnx.ModelProto, ranges: Ranges, sounds: Sequence[Samples]) -> dict[str, float]:
    """Give 1 minus the mean cosine by name of the one node that is quantized, the worst first."""
    sounds, nodes = sounds[:SOUNDS], set(weights(proto))
    parent = _vectors(proto, sounds)
    lost = {}
    for name in nodes:
        alone = _vectors(static_int8(proto, ranges, keep=nodes - {name}), sounds)
        lost[name] = 1 - float((parent * alone).sum(1).mean())
    return dict(sorted(lost.items(), key=lambda item: (-item[1], item[0])))


def mixed_int8(
    proto: onnx.ModelProto, ranges: Ranges, lost: dict[str, float], share: float
) -> onnx.ModelProto:
    """Quantize all but that share of the nodes, the worst ones."""
    return static_int8(proto, ranges, keep=list(lost)[: round(share * len(lost))])


def _vectors(proto: onnx.ModelProto, sounds: Sequence[Samples]) -> NDArray[np.float32]:
    """Give what stands for each sound, of length one. -> (sounds, dim)."""
    session = open_graph(proto)
    return np.concatenate([vectors(run(session, [sound])) for sound in sounds])
