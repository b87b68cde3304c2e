"""Whatever is evaluated, seen alike: frames by layer, a vector of a clip, tokens. One clip at a time.

One at a time, for only then is a clip's result surely its own: not every pretrained model promises that
padding changes nothing.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earkit.benchmarks.log_mel import HOP, WINDOW, log_mel
from earkit.benchmarks.mfcc import mfcc
from earkit.distill.front_end import CENTRE
from earkit.distill.teachers.resolve import load_teacher_by_name
from earkit.distill.teachers.student_teacher import StudentTeacher
from earkit.distill.teaching import AnyTeacher
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import ConfigError
from earkit.runtime.find_model import KINDS, built_in
from earkit.runtime.model_file import OUTPUTS

Array = NDArray[np.float32]
Tokens = NDArray[np.int64]

LEAST_SAMPLES = 1280
"""Clips that are shorter (80 ms, one frame of the slowest peer) are left out for everyone."""
REMEMBERED = 4 << 30
"""Bytes of frames and vectors that are kept of a model: all of what several tasks hear."""


@dataclass(frozen=True)
class Representation:
    """A frozen model, or a floor. Samples are (samples,) at 16 kHz.

    frames: samples -> layer -> (time, dim), the last layer last; None for a model of vectors alone.
    hop, first_centre: samples from frame to frame, and to the middle of the first one.
    vector: samples -> (dim,); None for a model that has no embedding of a clip.
    tokens: samples -> (time,), on the grid of the frames; None for a model without an inventory.
    """

    name: str
    frames: Callable[[Array], Mapping[str, Array]] | None = None
    hop: float = 0.0
    first_centre: float = 0.0
    vector: Callable[[Array], Array] | None = None
    tokens: Callable[[Array], Tokens] | None = None

    def frame_at(self, samples: NDArray[np.number], count: int) -> NDArray[np.int64]:
        """Which of `count` frames is nearest to each of these places of a clip."""
        nearest = np.round((samples - self.first_centre) / self.hop).astype(np.int64)
        return np.clip(nearest, 0, count - 1)


def load(name: str) -> Representation:
    """Find what is meant: `log-mel`, `mfcc`, a model file, a student's folder or run, a teacher or peer."""
    if name in FLOORS:
        return FLOORS[name]
    if Path(name).suffix in KINDS or name in built_in():
        return of_model_file(Embedder.load(name), name)
    teacher, _ = load_teacher_by_name(name)
    return of_student(teacher) if isinstance(teacher, StudentTeacher) else of_teacher(teacher)


def remembering(made: Representation, most: int = REMEMBERED) -> Representation:
    """Hear every clip once, however many tasks ask for it, until `most` bytes are kept.

    Tasks share clips, and some peers take seconds for each.
    """
    left = [most]

    def once(hear: Callable[[Array], Any]) -> Callable[[Array], Any]:
        kept: dict[bytes, Any] = {}

        def heard(samples: Array) -> Any:  # noqa: ANN401 - what `hear` gives
            key = hashlib.sha256(samples.tobytes()).digest()
            if key in kept:
                return kept[key]
            found = hear(samples)
            layers = found.values() if isinstance(found, Mapping) else (found,)
            size = sum(layer.nbytes for layer in layers)
            if size <= left[0]:
                left[0] -= size
                kept[key] = found
            return found

        return heard

    return replace(
        made,
        frames=made.frames and once(made.frames),
        vector=made.vector and once(made.vector),
        tokens=made.tokens and once(made.tokens),
    )


def _floor(name: str, layer: str, make: Callable[[Array], Array]) -> Representation:
    return Representation(name, lambda samples: {layer: make(samples)}, HOP, WINDOW / 2)


FLOORS = {
    "log-mel": _floor("log-mel", "80 bands", log_mel),
    "mfcc": _floor("mfcc", "13 coefficients and differences", mfcc),
}


def of_teacher(teacher: AnyTeacher) -> Representation:
    """Adapt a teacher of any kind: every layer, or the vector of one that has no layers."""
    if teacher.sample_rate != SAMPLE_RATE:
        raise ConfigError(
            f"{teacher.name} takes audio at {teacher.sample_rate} Hz, and benchmarks are at {SAMPLE_RATE} Hz"
        )

    def run(samples: Array, **wanted: Any) -> Any:  # noqa: ANN401 - either teacher's own
        return teacher.features(torch.from_numpy(samples)[None], torch.tensor([len(samples)]), **wanted)

    def frames(samples: Array) -> dict[str, Array]:
        return {f"layer {k}": x[0].numpy() for k, x in sorted(run(samples).hidden.items())}

    def vector(samples: Array) -> Array:
        made: Array = run(samples).vector[0].numpy()
        return made

    def tokens(samples: Array) -> Tokens:
        codes = run(samples, layers=[], codes=True).codes  # (codebooks, 1, time, size)
        best: Tokens = codes[-1, 0].argmax(-1).numpy()
        return best

    return Representation(
        teacher.name,
        frames if teacher.layers else None,
        teacher.hop,
        teacher.first_centre,
        None if teacher.layers else vector,
        tokens if teacher.dinosr else None,
    )


def of_student(student: StudentTeacher) -> Representation:
    """Adapt a student in torch: its blocks are the layers, and it has an embedding."""

    def vector(samples: Array) -> Array:
        with torch.inference_mode():
            made = student.model.embed(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        embedding: Array = made[0].numpy()
        return embedding

    return replace(of_teacher(student), vector=vector)


def of_model_file(embedder: Embedder, name: str) -> Representation:
    """Adapt an exported model file, run as its users run it."""

    def frames(samples: Array) -> dict[str, Array]:
        return {"frames": embedder.embed(samples, SAMPLE_RATE, output="frames")}

    def vector(samples: Array) -> Array:
        return embedder.embed(samples, SAMPLE_RATE)

    def tokens(samples: Array) -> Tokens:
        return embedder.embed(samples, SAMPLE_RATE, output="tokens")

    has = {output for output, names in OUTPUTS.items() if set(names) <= set(embedder.info.outputs)}
    return Representation(
        name,
        frames if "frames" in has else None,
        embedder.info.hop,
        CENTRE,
        vector if "embedding" in has else None,
        tokens if "tokens" in has else None,
    )
