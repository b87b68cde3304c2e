"""How far a quantized graph is from its float parent, on sounds that neither training nor calibration saw."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from earkit.compress.calibration_clips import CalibrationClips, Sound
from earkit.compress.graph import JUDGED_BY, Outputs, Samples, open_graph, run
from earkit.compress.invariance import together
from earkit.distill.retention import Part, Probes

Floats = NDArray[np.float32]

LEAST_EXAMPLES = 500
"""With fewer, one more or less that is right is too much of a per cent to judge by."""
WINDOW = 8_000
"""Samples of the stretches that are probed where there are no frames."""
TOGETHER = 8
"""Sounds in the batch on which the invariance promise is tried."""


@dataclass(frozen=True)
class Fidelity:
    """Cosines are between what stands for a clip here and in the parent."""

    cosine: float
    """Mean over clips."""
    worst_cosine: float
    together: float
    """Least cosine of a clip in a padded batch (of a step graph, in steps too) and the same clip alone."""
    tokens: float | None = None
    """Share of frames with the parent's token."""
    frames: float | None = None
    """Root of the mean square error, relative to that of the frames themselves."""
    probes: dict[str, float] = field(default_factory=dict)
    """Accuracy of linear probes over that of the parent's, by task."""


class Parent:
    """What a float graph makes of sounds, computed once, against quantized ones as often as asked."""

    def __init__(self, proto: onnx.ModelProto, clips: CalibrationClips) -> None:
        self.proto, self.clips = proto, clips
        self.heard = _hear(open_graph(proto), clips)
        train, held = self.heard.features
        has_frames = "frames" in self.heard.held[0]
        self.probes = Probes(
            _part(clips.calibration, train, labelled=has_frames),
            _part(clips.held_out, held, labelled=has_frames),
        )
        self.scores = self._scores(self.heard)

    def compare(self, proto: onnx.ModelProto) -> Fidelity:
        """Measure a quantized graph."""
        session = open_graph(proto)
        heard = _hear(session, self.clips)
        parent, own = self.heard.held, heard.held
        found = [float((vectors(a) @ vectors(b).T).item()) for a, b in zip(parent, own, strict=True)]
        scores = self._scores(heard)
        return Fidelity(
            cosine=float(np.mean(found)),
            worst_cosine=float(np.min(found)),
            together=_together(session, self.clips.held_out, own),
            tokens=_agreement(parent, own),
            frames=_frame_error(parent, own),
            probes={task: scores[task] / max(score, 1e-9) for task, score in self.scores.items()},
        )

    def _scores(self, heard: "_Heard") -> dict[str, float]:
        """Accuracy by task, of those that enough is known of."""
        train, held = heard.features
        scores = self.probes.scores({1: train}, {1: held})
        counts = {task: sum(map(len, labels)) for task, (_, labels) in self.probes.labels.items()}
        return {task: score for task, score in scores.items() if counts[task] >= LEAST_EXAMPLES}


def vectors(given: Outputs) -> Floats:
    """Give what stands for clips, of length one. -> (batch, dim)."""
    name = next(name for name in JUDGED_BY if name in given)
    rows: Floats = given[name].sum(1) if name == "frames" else given[name]
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit


@dataclass(frozen=True)
class _Heard:
    """What a graph makes of the sounds: all of those held out, and of both parts what is probed."""

    held: list[Outputs]
    features: tuple[list[Tensor], list[Tensor]]


def _hear(session: onnxruntime.InferenceSession, clips: CalibrationClips) -> _Heard:
    train, held = (
        [run(session, [sound.samples]) for sound in sounds] for sounds in (clips.calibration, clips.held_out)
    )
    if "frames" in held[0]:
        probed = [[torch.from_numpy(each["frames"][0]) for each in part] for part in (train, held)]
    else:
        probed = [
            [torch.from_numpy(vectors(run(session, _windows(sound.samples)))) for sound in sounds]
            for sounds in (clips.calibration, clips.held_out)
        ]
    return _Heard(held, (probed[0], probed[1]))


def _windows(sound: Samples) -> list[Samples]:
    return np.array_split(sound, max(1, len(sound) // WINDOW))


def _part(sounds: Sequence[Sound], features: Sequence[Tensor], *, labelled: bool) -> Part:
    """Labels of a clip are of its frames: where windows are probed instead, the parent's clusters serve."""
    clips = [sound.clip if labelled else dataclasses.replace(sound.clip, labels={}) for sound in sounds]
    return Part(clips, [sound.start for sound in sounds], {1: features})


def _together(
    session: onnxruntime.InferenceSession, sounds: Sequence[Sound], alone: Sequence[Outputs]
) -> float:
    """Try the invariance promise on sounds of all lengths."""
    chosen = np.linspace(0, len(sounds) - 1, min(TOGETHER, len(sounds))).astype(int).tolist()
    return together(session, [sounds[i].samples for i in chosen], [alone[i] for i in chosen])


def _agreement(parent: Sequence[Outputs], own: Sequence[Outputs]) -> float | None:
    if "tokens" not in own[0]:
        return None
    same = [a["tokens"][0] == b["tokens"][0] for a, b in zip(parent, own, strict=True)]
    return float(np.concatenate(same).mean())


def _frame_error(parent: Sequence[Outputs], own: Sequence[Outputs]) -> float | None:
    if "frames" not in own[0]:
        return None
    error = sum(float(np.square(a["frames"] - b["frames"]).sum()) for a, b in zip(parent, own, strict=True))
    return float(np.sqrt(error / sum(float(np.square(a["frames"]).sum()) for a in parent)))
