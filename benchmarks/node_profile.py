"""What onnxruntime says of the nodes that it ran: their operator, their time, and the shapes they met."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from earkit.runtime.errors import CheckpointError
from earkit.runtime.model_file import REFUSALS
from earkit.runtime.session import session_options

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphRun:
    """One run of a model file: what it is fed, and which of its outputs are asked for."""

    file: Path
    feeds: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class NodeRun:
    """One node of one run. inputs, outputs: shapes, of what is there of them."""

    operator: str
    seconds: float
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


def node_runs(
    run: GraphRun, threads: int = 1, rounds: int = 1, *, as_written: bool = False
) -> list[list[NodeRun]]:
    """Give the nodes of each of `rounds` runs, in the order in which they ran.

    as_written: without onnxruntime's own rewriting, so that operators and shapes are those of the file; times
    are of use without it only.
    """
    options = session_options(threads)
    options.enable_profiling = True
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")  # or weights have no shapes
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = onnxruntime.InferenceSession(
                str(run.file), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            for _ in range(rounds):
                session.run(list(run.outputs), dict(run.feeds))
        except (*REFUSALS, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{run.file} cannot be run by onnxruntime: {reason}") from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _by_round(events)


def _by_round(events: Sequence[Mapping[str, Any]]) -> list[list[NodeRun]]:
    """Divide nodes by the runs that they ended in; a run's own event has its name and span."""
    spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == "model_run")
    nodes = [e for e in events if e["cat"] == "Node" and "op_name" in e.get("args", {})]
    kernels = sorted((e for e in nodes if e["name"].endswith("_kernel_time")), key=lambda e: e["ts"])
    return [[_node(e) for e in kernels if begin <= e["ts"] <= end] for begin, end in spans]


def _node(event: Mapping[str, Any]) -> NodeRun:
    told = event["args"]
    shapes = (
        tuple(tuple(shape) for each in told.get(key, []) for shape in each.values())
        for key in ("input_type_shape", "output_type_shape")
    )
    return NodeRun(told["op_name"], event["dur"] / 1e6, *shapes)


def shares(rounds: Sequence[Sequence[NodeRun]]) -> dict[str, float]:
    """Give each operator's share of the time in nodes: the median over rounds, the largest first."""
    operators = {node.operator for nodes in rounds for node in nodes}
    made = {}
    for operator in operators:
        each = [
            sum(node.seconds for node in nodes if node.operator == operator)
            / max(sum(node.seconds for node in nodes), 1e-12)
            for nodes in rounds
        ]
        made[operator] = float(np.median(each))
    return dict(sorted(made.items(), key=lambda item: -item[1]))
