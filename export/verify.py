"""The gate of an export: the graph in onnxruntime against the student in torch, and against itself.

Every output, for clips from 0.1 s to 60 s, alone and in batches with mixed padding. An index has no
tolerance, but two values that are equal but for rounding may change places: so a token may differ where its
logit is as good as the best one, and a latent of a sparse code where its value is as large.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from earkit.distill.distilled import DistilledStudent
from earkit.distill.front_end import student_frames
from earkit.distill.losses.csr import squareplus
from earkit.export.graph import Selection, token_head
from earkit.runtime.errors import CheckpointError
from earkit.runtime.inference import open_graph, pad, run
from earkit.runtime.trial_sounds import BATCHES, SECONDS, sounds

TOLERANCE = 1e-4

Arrays = Mapping[str, NDArray[Any]]


def verify(proto: onnx.ModelProto, model: DistilledStudent, selection: Selection) -> dict[str, float]:
    """Measure the largest difference by output, in batches as well as alone; above 1e-4 it is an error."""
    session, clips = open_graph(proto), sounds()
    found: dict[str, float] = {}
    alone = []
    for clip, seconds in zip(clips, SECONDS, strict=True):
        alone.append((run(session, pad([clip])), reference(model, selection, clip)))
        gather(found, differences(*alone[-1]), f"in a clip of {seconds:g} s")
    for batch in BATCHES:
        given = run(session, pad([clips[i] for i in batch]))
        for row, i in enumerate(batch):
            where = f"in a clip of {SECONDS[i]:g} s within a batch of {len(batch)}"
            own = {name: each[row : row + 1] for name, each in given.items()}
            gather(found, differences(own, alone[i][1]), where)
            gather(found, _changes(own, alone[i][0]), where)
    return found


def gather(found: dict[str, float], drift: Mapping[str, float], where: str) -> None:
    """Keep the largest difference of each output, unless one is above the tolerance."""
    refuse_drift(drift, where)
    for name, value in drift.items():
        found[name] = max(value, found.get(name, 0.0))


def refuse_drift(drift: Mapping[str, float], where: str) -> None:
    """Refuse a difference above the tolerance; `where` is the clip, for the sentence."""
    for name, value in drift.items():
        if not value <= TOLERANCE:
            raise CheckpointError(
                f"{name} of the exported graph is off by {value:.1e} {where}, and {TOLERANCE:g} is allowed: "
                "nothing was written; please report it"
            )


@torch.inference_mode()
def reference(model: DistilledStudent, selection: Selection, clip: NDArray[np.float32]) -> dict[str, Tensor]:
    """Give what the student makes of one clip alone; logits where the graph gives tokens."""
    audio, lengths = torch.from_numpy(clip)[None], torch.tensor([len(clip)])
    frames, valid = model.frames(audio, lengths, selection.depth)
    pooled = model.student.pool(frames, valid)
    wanted = {"frames": frames, "frame_lengths": student_frames(lengths)}
    wanted["embedding"] = F.normalize(pooled, dim=1)
    if "tokens" in selection.outputs:
        wanted["tokens"] = token_head(model, selection.codebook)(frames)
    if "sparse" in selection.outputs:
        assert model.sparse is not None
        wanted["sparse"] = squareplus(model.sparse.latents(wanted["embedding"]))
    if "scores" in selection.outputs:
        assert model.classifier is not None
        wanted["scores"] = model.classifier(pooled)
    return wanted


def differences(given: Arrays, wanted: Mapping[str, Tensor]) -> dict[str, float]:
    """Compare one row of the graph's outputs with the student's."""
    time = wanted["frames"].shape[1]
    found = {}
    for name in ("embedding", "scores"):
        if name in given:
            found[name] = _largest(given[name] - wanted[name].numpy())
    if "frame_lengths" in given:
        found["frame_lengths"] = float(np.abs(given["frame_lengths"] - wanted["frame_lengths"].numpy()).max())
    if "frames" in given:
        frames = given["frames"]
        found["frames"] = max(
            _largest(frames[:, :time] - wanted["frames"].numpy()), _largest(frames[:, time:])
        )
    if "tokens" in given:
        found["tokens"] = _token_loss(given["tokens"], wanted["tokens"].numpy())
    if "sparse_values" in given:
        found["sparse_values"] = _sparse_loss(
            given["sparse_indices"], given["sparse_values"], wanted["sparse"].numpy()
        )
    return found


def _token_loss(tokens: NDArray[Any], logits: NDArray[np.float32]) -> float:
    """By how much a token's logit falls short of the best one. tokens: (1, time), with padding."""
    own, behind = tokens[0, : logits.shape[1]].astype(np.int64), tokens[0, logits.shape[1] :]
    if own.min() < 0 or own.max() >= logits.shape[2] or (behind != -1).any():
        return float("inf")
    taken = logits[0][np.arange(len(own)), own]
    return _largest(logits[0].max(1) - taken)


def _sparse_loss(indices: NDArray[Any], values: NDArray[Any], latents: NDArray[np.float32]) -> float:
    """By how much values differ from those of the same latents, and from the largest ones, in order."""
    k = values.shape[1]
    chosen = indices.astype(np.int64)
    if len(np.unique(chosen)) != k or chosen.min() < 0 or chosen.max() >= latents.shape[1]:
        return float("inf")
    largest = -np.sort(-latents, axis=1)[:, :k]
    own = latents[np.arange(len(chosen))[:, None], chosen]
    return max(_largest(values - own), _largest(values - largest))


def _changes(given: Arrays, alone: Arrays) -> dict[str, float]:
    """Compare a clip in a batch with the same clip alone, both by the graph."""
    time = alone["frames"].shape[1] if "frames" in alone else 0
    cut = {name: each[:, :time] if name == "frames" else each for name, each in given.items()}
    names = {"embedding", "frames", "scores", "sparse_values"} & set(alone)
    return {name: _largest(cut[name] - alone[name]) for name in names}


def _largest(difference: NDArray[np.floating]) -> float:
    """Largest magnitude, infinite where there is one that is not finite."""
    if not difference.size:
        return 0.0
    return float(np.abs(difference).max()) if np.isfinite(difference).all() else float("inf")
