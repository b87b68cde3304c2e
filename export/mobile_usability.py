"""Will a phone's accelerator take a graph? onnxruntime's own check, which counts operators.

A graph goes there in partitions, one for each stretch of nodes that the accelerator has; what lies between
them runs on the processor, and handing over costs more than it saves where there are many.
"""

from dataclasses import dataclass

import onnx
from onnxruntime.tools.mobile_helpers.usability_checker import check_coreml_partitions, check_nnapi_partitions

ACCELERATORS = ("NNAPI", "CoreML MLProgram", "CoreML NeuralNetwork")


@dataclass(frozen=True)
class Usability:
    """What an accelerator would take of a graph whose shapes are fixed."""

    accelerator: str
    nodes: int
    taken: int
    """Of the nodes."""
    partitions: int
    lacking: tuple[str, ...]
    """Operators that it does not have."""
    advice: str
    """Whether to try it: yes, maybe or no."""


def usability(proto: onnx.ModelProto) -> tuple[Usability, ...]:
    """Ask for each of `ACCELERATORS`. proto: with its shapes inferred."""
    checks = (
        check_nnapi_partitions(proto, True),  # noqa: FBT003 - its own signature
        *(
            check_coreml_partitions(proto, True, f"coreml_supported_{kind}_ops.md")  # noqa: FBT003
            for kind in ("mlprogram", "neuralnetwork")
        ),
    )
    return tuple(
        Usability(
            accelerator=name,
            nodes=found.num_nodes,
            taken=found.num_supported_nodes,
            partitions=found.num_partitions,
            lacking=tuple(sorted(each.removeprefix("ai.onnx:") for each in found.unsupported_ops)),
            advice=found.suitability().name.lower(),
        )
        for name, found in zip(ACCELERATORS, checks, strict=True)
    )


def usability_table(found: tuple[Usability, ...]) -> str:
    """Write it in Markdown, for the card."""
    lines = [
        f"| {each.accelerator} | {each.advice} | {each.taken} of {each.nodes} | {each.partitions} "
        f"| {', '.join(each.lacking) or 'none'} |"
        for each in found
    ]
    head = "| accelerator | worth a try | nodes it takes | partitions | operators it lacks |"
    return "\n".join(["## On a phone, by onnxruntime's check", "", head, "|---|---|---|---|---|", *lines, ""])
