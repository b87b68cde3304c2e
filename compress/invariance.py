"""The invariance promise of quantized files: alone, in a padded batch and in steps, a clip gives the same."""

from collections.abc import Sequence

import onnx
import onnxruntime

from earkit.compress.graph import JUDGED_BY, Outputs, Samples, open_graph, run
from earkit.runtime.inference import cosine, play, zero_states
from earkit.runtime.trial_sounds import BATCHES, sounds


def invariance(proto: onnx.ModelProto) -> float:
    """Give the least cosine over all lengths and batches by which export verifies a float graph."""
    session, clips = open_graph(proto), sounds()
    alone = [run(session, [clip]) for clip in clips]
    return min(together(session, [clips[i] for i in each], [alone[i] for i in each]) for each in BATCHES)


def together(
    session: onnxruntime.InferenceSession, clips: Sequence[Samples], alone: Sequence[Outputs]
) -> float:
    """Give the least cosine between clips in a batch, of a step graph in steps of 80 ms, and each alone.

    Of embeddings, of scores, and of all frames of a clip.
    """
    batch = play(session, clips) if zero_states(session, 1) else run(session, clips)
    names = [name for name in JUDGED_BY if name in batch]
    pairs = ((batch[name][i], own[name][0]) for name in names for i, own in enumerate(alone))
    return min(cosine(padded[: len(own)], own) for padded, own in pairs)
