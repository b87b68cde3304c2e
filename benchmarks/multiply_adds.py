"""Multiply-adds of matrix products and convolutions, counted from the shapes that a run met.

Graphs are counted as they are written, before onnxruntime rewrites them; what is quantized counts as what it
stands for. Element-wise work and what is done in NumPy, such as a Fourier transform before a graph, is not
counted; a transform that is a convolution in the graph is.
"""

from collections.abc import Callable, Iterable, Mapping
from math import prod

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from earkit.benchmarks.node_profile import GraphRun, NodeRun, node_runs
from earkit.runtime.errors import DataError

UNCOUNTED = frozenset(
    {"Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "Einsum", "DFT", "STFT"}
    | {"FusedMatMul", "GRU", "RNN", "DeformConv"}
)
"""Operators that multiply much and have no rule here: they are refused, not passed over."""


def _product(node: NodeRun) -> int:
    """(…, m, k) times (…, k, n): every value of the output is a sum of k products."""
    return prod(node.outputs[0]) * node.inputs[0][-1]


def _gemm(node: NodeRun) -> int:
    """Whether or not a factor is transposed: the first has m * k values, the output m * n."""
    return prod(node.inputs[0]) * node.outputs[0][1]


def _convolution(weight: int) -> Callable[[NodeRun], int]:
    """Weights are (out, in / groups, kernel…) and the input of that number: a sum for every output."""
    return lambda node: prod(node.outputs[0]) * prod(node.inputs[weight][1:])


def _transposed_convolution(node: NodeRun) -> int:
    """Every value of the input goes into (out / groups) * kernel sums."""
    return prod(node.inputs[0]) * prod(node.inputs[1][1:])


def _lstm(node: NodeRun) -> int:
    """Four gates a step; weights are (directions, 4 * hidden, width) of the input and of the state."""
    time, batch, _ = node.inputs[0]
    return time * batch * (prod(node.inputs[1]) + prod(node.inputs[2]))


RULES: Mapping[str, Callable[[NodeRun], int]] = {
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul", "MatMulNBits"), _product),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _product),
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _gemm),
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger"), _convolution(1)),
    **dict.fromkeys(("QLinearConv",), _convolution(3)),  # behind input, scale and zero point
    "ConvTranspose": _transposed_convolution,
    "LSTM": _lstm,
}


def of_nodes(nodes: Iterable[NodeRun]) -> int:
    """Count those of a run."""
    total = 0
    for node in nodes:
        if node.operator in UNCOUNTED:
            raise DataError(
                f"the multiply-adds of {node.operator} are not known here: give it a rule in "
                "benchmarks/multiply_adds.py"
            )
        if node.operator in RULES:
            total += RULES[node.operator](node)
    return total


def of_graph(run: GraphRun) -> int:
    """Count those of a model file for what it is fed."""
    (nodes,) = node_runs(run, as_written=True)
    return of_nodes(nodes)


def of_torch(hear: Callable[[], object]) -> int:
    """Count those of whatever torch does in a call. Attention is done by products, which can be counted."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        hear()
    return int(counter.get_total_flops()) // 2
