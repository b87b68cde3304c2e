"""What a model file makes of clips, for `arm_parity`, which runs this on two machines.

    python -m earkit.benchmarks.arm_outputs MODEL.onnx CLIPS.npz OUTPUTS.npz

Runs where there is nothing but the base packages of earkit.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.embedder import Embedder

TOGETHER_SECONDS = 1
"""Clips up to this length are also given together, of which some share a padded batch."""


def outputs(embedder: Embedder, clips: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """Give each result by `OUTPUT.alone.CLIP` or `OUTPUT.together.CLIP`."""
    made: dict[str, NDArray[Any]] = {}
    short = [clip for clip in clips if len(clip) <= TOGETHER_SECONDS * 16_000]
    for output in ("embedding", "frames", "tokens"):
        if output in embedder.info.outputs:
            for i, clip in enumerate(clips):
                made[f"{output}.alone.{i}"] = embedder.embed(clip, 16_000, output=output)
            for i, result in enumerate(embedder.embed(short, 16_000, output=output)):
                made[f"{output}.together.{i}"] = np.asarray(result)
    return made


def main() -> None:
    """Do what the command line says."""
    model, clips, target = map(Path, sys.argv[1:])
    with np.load(clips) as stored:
        sounds = [stored[name] for name in stored.files]
    made: dict[str, Any] = outputs(Embedder.load(model, threads=1), sounds)
    np.savez(target, **made)


if __name__ == "__main__":
    main()
