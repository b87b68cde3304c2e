"""Figures that need no label: how many dimensions are used, how views of a clip agree, how clips spread.

On words of kajongg; the last layer stands for a model without an embedding. Views are a clip as it is and in
noise, rooms and telephones. Only alignment is a mean over clips, and has an interval.
"""

from collections.abc import Sequence

import numpy as np
import torch

from earkit.benchmarks.bootstrap import mean_interval
from earkit.benchmarks.clip_vectors import clip_vectors
from earkit.benchmarks.label_free import alignment, effective_rank, uniformity
from earkit.benchmarks.representations import Array, Representation
from earkit.benchmarks.tasks.manifest_rows import Labels, audio, column
from earkit.benchmarks.tasks.task import Score, Split, Task
from earkit.benchmarks.unit_quality import perplexity
from earkit.distill.data.augment import augment
from earkit.distill.data.manifests import Row
from earkit.distill.rankme import rankme
from earkit.distill.retention import DISTURBED

MOST_FRAMES = 2048


def splits(rows: Sequence[Row]) -> list[Split]:  # noqa: ARG001 - as every task has it
    """Nothing is learned or chosen."""
    return []


def score(representation: Representation, rows: Sequence[Row], seed: int) -> list[Score]:
    """Give figures of clips, of frames, and of tokens, as far as a representation has them."""
    clips = [audio(row) for row in rows]
    return [
        *_of_clips(representation, clips, column(rows, "speaker"), seed),
        *_of_frames(representation, clips, seed),
        *_of_tokens(representation, clips),
    ]


def _of_clips(
    representation: Representation, clips: Sequence[Array], speakers: Labels, seed: int
) -> list[Score]:
    choice, clean = list(clip_vectors(representation, clips).items())[-1]
    views = [augment(clip, np.random.default_rng([seed, i]), DISTURBED) for i, clip in enumerate(clips)]
    apart = alignment(clean, clip_vectors(representation, views)[choice])
    of = {"all": choice}, {"clips": len(clips)}
    interval = mean_interval(apart, speakers, seed)
    return [
        Score(TASK.name, "alignment", float(apart.mean()), interval, "speakers", *of),
        Score(TASK.name, "uniformity", uniformity(clean), None, "", *of),
        Score(
            TASK.name, "effective rank of clips", effective_rank(clean - clean.mean(axis=0)), None, "", *of
        ),
    ]


def _of_frames(representation: Representation, clips: Sequence[Array], seed: int) -> list[Score]:
    if representation.frames is None:
        return []
    layer = ""
    parts = []
    for clip in clips:
        layer, frames = list(representation.frames(clip).items())[-1]
        parts.append(frames)
    together = np.concatenate(parts)
    some = together[np.random.default_rng(seed).permutation(len(together))[:MOST_FRAMES]]
    of = {"all": layer}, {"frames": len(some)}
    return [
        Score(TASK.name, "RankMe of frames", rankme(torch.from_numpy(some)), None, "", *of),
        Score(TASK.name, "effective rank of frames", effective_rank(some - some.mean(axis=0)), None, "", *of),
    ]


def _of_tokens(representation: Representation, clips: Sequence[Array]) -> list[Score]:
    if representation.tokens is None:
        return []
    used = np.bincount(np.concatenate([representation.tokens(clip) for clip in clips]))
    counts = {"tokens": int(used.sum()), "in use": int((used > 0).sum())}
    return [
        Score(TASK.name, "codebook perplexity", perplexity(used[None]), None, "", {"all": "tokens"}, counts)
    ]


TASK = Task(
    "label_free",
    "dimensions in use, agreement of views and spread, without labels",
    ("kajongg",),
    ("sha256",),
    list,
    splits,
    score,
)
