"""Labelled clips for the task stage: which are learnt from, which are held out, and their augmented views.

A label belongs to a clip as a whole. So its views may move time as well, which the segments of distillation
may not: they are played faster or slower, lose something at their ends, and get silence there instead.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earkit.distill.classes import Indices, held_out, labelled
from earkit.distill.data.augment import Range, augment, change_speed, open_noises
from earkit.distill.data.batches import (
    JITTER,
    PaddedBatch,
    group,
    pad,
    padded_batches,
    shuffled_groups,
    sound,
)
from earkit.distill.data.corpus import Corpus, Skipped
from earkit.distill.data.segments import SegmentConfig
from earkit.distill.data.workers import in_order
from earkit.runtime.audio import SAMPLE_RATE, Samples
from earkit.runtime.errors import AudioError, ConfigError, DataError

ENOUGH = 5
"""Clips that every class must have before any is held out."""

_PLAN, _VIEW = 1, 2  # what a random stream is for; it stands first in its seed


@dataclass(frozen=True)
class ViewConfig:
    """How a clip is moved in time, before `data.augment` changes its sound."""

    speed: float = 0.5
    """How probable a change of speed is."""
    speed_factor: Range = (0.85, 1.15)
    cut: float = 0.1
    """Share of a clip that is left out at its ends, at most."""
    silence: float = 0.1
    """Seconds of silence that are put at either end, at most."""

    def __post_init__(self) -> None:
        if not 0 <= self.speed <= 1 or not 0 < self.speed_factor[0] <= self.speed_factor[1]:
            raise ConfigError(
                "views.speed is a probability from 0 to 1, and views.speed_factor two factors above 0, the "
                f"smaller first, not {self.speed:g} and {self.speed_factor}"
            )
        if not 0 <= self.cut <= 0.5 or not 0 <= self.silence < math.inf:
            raise ConfigError(
                f"views.cut is a share from 0 to 0.5 and views.silence 0 or more seconds, not {self.cut:g} "
                f"and {self.silence:g}"
            )


@dataclass(frozen=True)
class TaskClips:
    """A labelled corpus in two parts; labels: for each clip of a part, the index of its class."""

    classes: tuple[str, ...]
    train: Corpus
    labels: Indices
    held: Corpus
    held_labels: Indices


def divide(corpus: Corpus, data: SegmentConfig, column: str, share: float, seed: int) -> TaskClips:
    """Read the labels, leave out what is too short, and hold out a share of each class alike.

    Nothing is held out where the share is 0 or a class has fewer than `ENOUGH` clips.
    """
    classes = labelled(corpus, column)
    long = np.array([clip.samples >= data.min_seconds * SAMPLE_RATE for clip in corpus.clips])
    left = np.bincount(classes.of_clip[long], minlength=len(classes.names))
    if not left.all():
        raise DataError(
            f"all clips of the class {classes.names[int(np.argmin(left))]} of {corpus.source} are shorter "
            f"than data.min_seconds, {data.min_seconds:g} s: give longer ones, or lower it"
        )
    train, held = np.arange(len(long)), np.arange(0)
    if share and left.min() >= ENOUGH:
        train, held = held_out(classes, share, seed)
    train, held = train[long[train]], held[long[held]]
    short = f"shorter than data.min_seconds, {data.min_seconds:g} s"
    skipped = tuple(Skipped(corpus.clips[i].name, short) for i in np.flatnonzero(~long))
    return TaskClips(
        classes=classes.names,
        train=Corpus(tuple(corpus.clips[i] for i in train), corpus.skipped + skipped, corpus.source),
        labels=classes.of_clip[train],
        held=Corpus(tuple(corpus.clips[i] for i in held), (), corpus.source),
        held_labels=classes.of_clip[held],
    )


def as_they_are(corpus: Corpus, data: SegmentConfig) -> Iterator[PaddedBatch]:
    """Yield each clip once, as it is, but of one longer than max_seconds its beginning alone."""
    return padded_batches(
        corpus, batch_seconds=data.batch_seconds, max_seconds=data.max_seconds, workers=data.workers
    )


@dataclass(frozen=True)
class ViewBatch:
    """Views of clips of similar length, with zeros behind the shorter ones."""

    audio: Tensor  # (batch, samples), in [-1, 1]
    lengths: Tensor  # (batch,) int64, samples that count
    clips: tuple[int, ...]
    """Positions in `corpus.clips`."""
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def seconds(self) -> float:
        """Audio that counts, without padding."""
        return int(self.lengths.sum()) / SAMPLE_RATE


def view_batches(
    corpus: Corpus,
    data: SegmentConfig,
    views: ViewConfig,
    *,
    seed: int,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
) -> Iterator[ViewBatch]:
    """Yield batch number `start` and all that follow, without end; each epoch has a new view of each clip.

    A batch is a function of its number, the corpus, the configuration and the seed. A clip that cannot be
    decoded or is silent is left out and reported in `skipped`.
    """
    job = _Views(corpus, data, views, seed, (rank, world))
    return map(_Made.batch, in_order(job, count(start), data.workers))


@dataclass(frozen=True)
class _Made:
    """A batch on its way from a worker, as arrays."""

    audio: NDArray[np.float32]
    lengths: Indices
    clips: tuple[int, ...]
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def batch(self) -> ViewBatch:
        audio, lengths = torch.from_numpy(self.audio), torch.from_numpy(self.lengths)
        return ViewBatch(audio, lengths, self.clips, self.names, self.skipped)


class _Views:
    """Batches of views by number."""

    def __init__(
        self, corpus: Corpus, data: SegmentConfig, views: ViewConfig, seed: int, place: tuple[int, int]
    ) -> None:
        self.corpus, self.data, self.views, self.seed = corpus, data, views, seed
        self.rank, self.world = place
        self.noises = open_noises(data.augment)
        samples = np.array([clip.samples for clip in corpus.clips])
        slowest = min(1.0, views.speed_factor[0]) if views.speed else 1.0
        whole = np.minimum(samples, int(data.max_seconds * SAMPLE_RATE)) / slowest
        self.longest = (whole + 2 * views.silence * SAMPLE_RATE).astype(np.int64)
        # As in `segments`: within batch_seconds with what jitter may bring in, the same sizes every epoch.
        self.bounds = group(-np.sort(-self.longest), int(data.batch_seconds * SAMPLE_RATE / JITTER))

    def __call__(self, number: int) -> _Made:
        per_epoch = len(self.bounds) - 1
        epoch, place = divmod(number * self.world + self.rank, per_epoch)
        rng = np.random.default_rng([_PLAN, self.seed, epoch])
        groups = shuffled_groups(self.longest, self.bounds, rng)
        skipped: list[Skipped] = []
        for step in range(per_epoch):
            made = self._read(groups[(place + step) % per_epoch], epoch, skipped)
            if made.clips:
                return made
        raise DataError(
            f"none of {len(self.corpus.clips)} clips can be used ({skipped[-1].reason}): "
            "give other recordings"
        )

    def _read(self, wanted: Indices, epoch: int, skipped: list[Skipped]) -> _Made:
        rows, good = [], []
        for index in wanted.tolist():
            try:
                rows.append(self._view(index, np.random.default_rng([_VIEW, self.seed, epoch, index])))
                good.append(index)
            except AudioError as error:
                skipped.append(Skipped(self.corpus.clips[index].name, str(error)))
        names = tuple(self.corpus.clips[index].name for index in good)
        return _Made(*pad(rows), tuple(good), names, tuple(skipped))

    def _view(self, index: int, rng: np.random.Generator) -> Samples:
        """Cut, play at another speed, put between silences, then change the sound."""
        clip, data, views = self.corpus.clips[index], self.data, self.views
        kept = min(int(clip.samples * (1 - rng.uniform(0, views.cut))), int(data.max_seconds * SAMPLE_RATE))
        samples = sound(clip, int(rng.integers(clip.samples - kept + 1)), kept)
        if rng.random() < views.speed:
            samples = change_speed(samples, rng.uniform(*views.speed_factor))
        before, behind = (rng.uniform(0, views.silence, 2) * SAMPLE_RATE).astype(int)
        # Nothing gets shorter than what a teacher was found to hear.
        behind = max(behind, int(data.min_seconds * SAMPLE_RATE) - len(samples) - before)
        return augment(np.pad(samples, (before, behind)), rng, data.augment, self.noises)
