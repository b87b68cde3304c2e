"""Eight-bit arithmetic: each function makes an int8 graph of a float one.

Weights have a scale for each channel. On x86 activations are unsigned, which is what its instructions
multiply by signed weights; elsewhere they are signed. A processor without an instruction that sums four 8-bit
products in 32 bits (VNNI) adds pairs of them in 16, which saturate unless weights keep to 7 bits. So they do
everywhere: a file is the same model wherever it was made and wherever it runs, and the eighth bit would bring
next to nothing.

Measured and left out: onnxruntime's offline optimizations before quantization. Those that keep to standard
operators lead to the same kernels, as the others are made anyway when a file is opened. (optimum's
`ORTOptimizer` only knows transformers' own architectures.)
"""

import logging
import platform
import tempfile
from collections.abc import Collection
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantizationMode, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import QuantizationConfig
from transformers import PretrainedConfig

from earkit.compress.calibration import Ranges
from earkit.compress.graph import WEIGHING, weights


def dynamic_int8(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Let matrix products measure their input each time they run, and compute in 8 bits.

    Convolutions stay float: onnxruntime's ConvInteger is slow, and browsers have none. Scales are those of a
    whole batch, so a clip is not quite independent of its batch; the gate measures by how much.
    """
    split = ONNXModel(deepcopy(proto))
    split.replace_gemm_with_matmul()  # Gemm has no dynamic kernel
    products = {node.name for node in split.model.graph.node if node.op_type == "MatMul"}
    config = QuantizationConfig(
        is_static=False,
        format=QuantFormat.QOperator,
        mode=QuantizationMode.IntegerOps,
        per_channel=True,
        reduce_range=True,
        nodes_to_quantize=sorted(products & set(weights(split.model))),
        operators_to_quantize=["MatMul"],
    )
    with tempfile.TemporaryDirectory() as folder, _quietly():
        onnx.save(split.model, Path(folder) / "float.onnx")
        quantizer = ORTQuantizer(Path(folder) / "float.onnx", PretrainedConfig())
        quantizer.quantize(config, folder, file_suffix="int8")
        return _cleaned(onnx.load(Path(folder) / "float_int8.onnx"))


def static_int8(proto: onnx.ModelProto, ranges: Ranges, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Put QuantizeLinear and DequantizeLinear around all nodes with weights; onnxruntime fuses them.

    keep: names of nodes that stay float. Not by optimum's `ORTQuantizer`: it would also round what comes out
    of a matrix product, which costs accuracy and gains nothing, and it cannot be told not to.
    """
    chosen = [name for name in weights(proto) if name not in keep]
    typed = onnx.shape_inference.infer_shapes(_own_inputs(proto))
    ranges = ranges | {_copy_of(name): pair for name, pair in ranges.items()}
    ends = {name: tuple(np.array(end, np.float32) for end in pair) for name, pair in ranges.items()}
    quantizer = QDQQuantizer(
        typed,
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if _is_x86() else QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ends),
        nodes_to_quantize=chosen,
        nodes_to_exclude=[],
        op_types_to_quantize=list(WEIGHING),
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    with _quietly():
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    return _cleaned(quantizer.model.model)


def _own_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Let nodes with weights read a copy of what others read too: else those would get it rounded."""
    made = deepcopy(proto)
    weighing = weights(made)
    shared = {put.name for put in made.graph.output}
    shared |= {name for node in made.graph.node if node.name not in weighing for name in node.input}
    readers = [n for n in made.graph.node if n.name in weighing and n.input[0] in shared]
    for name in sorted({node.input[0] for node in readers}):
        node = helper.make_node("Identity", [name], [_copy_of(name)], name=f"{_copy_of(name)}/Identity")
        first = next(i for i, each in enumerate(made.graph.node) if name in each.input)
        made.graph.node.insert(first, node)
    for node in readers:
        node.input[0] = _copy_of(node.input[0])
    return made


def _copy_of(tensor: str) -> str:
    return f"{tensor}/copy"


def _is_x86() -> bool:
    return platform.machine().lower() in {"x86_64", "amd64", "x86", "i686"}


def _cleaned(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Drop inferred shapes and what quantizers write about themselves."""
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    return proto


class _quietly:  # noqa: N801 - a context manager that reads as an adverb
    """Silence warnings about tensors of other types, which are not to be quantized."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
