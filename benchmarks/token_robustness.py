"""How still tokens hold in noise, rooms and telephones, before and after the robust stage.

    python -m earkit.benchmarks.token_robustness [--seeds 3] [--steps 300]

Unit edit distance between the tokens of clean and of disturbed utterances, of speakers never heard, by kind
of disturbance, and all together.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells, Row
from earkit.distill.data.augment import AugmentConfig, augment
from earkit.distill.distilled import DistilledStudent
from earkit.distill.retention import DISTURBED
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.unit_edit_distance import unit_edit_distance

NAME = "token_robustness"
KINDS = {
    "noise at 10 dB": AugmentConfig(noise=1.0, noise_snr=(10.0, 10.0)),
    "room": AugmentConfig(room=1.0, room_t60=(0.4, 0.4)),
    "telephone": AugmentConfig(telephone=1.0),
    "12 dB quieter": AugmentConfig(gain=1.0, gain_db=(-12.0, -12.0)),
    "all together": DISTURBED,
}


def tokens(model: DistilledStudent, clips: list[bench.Array]) -> list[np.ndarray]:
    """Tokens of the last codebook."""
    found = []
    for clip in clips:
        with torch.inference_mode():
            frames, _ = model.frames(torch.from_numpy(clip)[None], torch.tensor([len(clip)]))
            found.append(model.tokens(frames)[-1, 0].numpy())
    return found


def distances(model: DistilledStudent, manifest: Path) -> dict[str, float]:
    """Give the unit edit distance by kind."""
    clips = [np.asarray(each.samples) for each in bench.test_utterances(manifest)]
    clean = tokens(model, clips)
    found = {}
    for kind, config in KINDS.items():
        disturbed = [augment(clip, np.random.default_rng(i), config) for i, clip in enumerate(clips)]
        found[kind] = round(unit_edit_distance(clean, tokens(model, disturbed)), 4)
    return found


def measure(folder: Path, seed: int, manifest: Path, steps: int) -> Iterator[Row]:
    """Train what is missing for one seed, and disturb both."""
    teacher = str(bench.teacher_run(folder, seed, manifest))
    before = bench.default_run(folder, seed, manifest, steps)
    after = bench.student_run(
        folder, "robust", seed, manifest, teachers=[teacher], recipe="robust", start=str(before)
    )
    for name, run in {"general": before, "robust": after}.items():
        model = bench.load(run)
        kept = bench.student_embedding_scores(model, manifest, seed)
        yield {"name": name, "seed": seed, **distances(model, manifest), **kept}


def main() -> None:
    """Measure every seed that is missing."""
    given = bench.options(__doc__, seeds=3).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny")
    for seed in range(given.seeds):
        if not cells.find(seed=seed):
            cells.keep(measure(given.runs, seed, manifest, given.steps))


if __name__ == "__main__":
    main()
