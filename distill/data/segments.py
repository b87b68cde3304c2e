"""Segments: the unit of distillation, a clip or an equal part of a longer one, always cut the same way.

The teacher sees a segment whole and clean, whatever the student gets; so its features belong to the segment
and can be kept on disk. The student's view may be augmented by all that does not move time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earkit.distill.data.augment import AugmentConfig, augment, open_noises
from earkit.distill.data.batches import JITTER, group, pad, shuffled_groups, sound
from earkit.distill.data.corpus import Clip, Corpus, Skipped
from earkit.distill.data.workers import in_order
from earkit.distill.front_end import FRAME
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import AudioError, ConfigError, DataError

_Indices = NDArray[np.int64]

_PLAN, _VIEW = 1, 2  # what a random stream is for; it stands first in its seed


@dataclass(frozen=True)
class SegmentConfig:
    """How clips are cut into segments, and these become batches; `batch_seconds` is for each process."""

    max_seconds: float = 8.0
    min_seconds: float = 0.3
    batch_seconds: float = 40.0
    """With padding."""
    workers: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        frames = 2 * FRAME / SAMPLE_RATE  # what the ends of a cut clip lose to the grid at most
        if not 0 < self.min_seconds <= (self.max_seconds - frames) / 2:
            raise ConfigError(
                f"min_seconds {self.min_seconds:g} must be above 0, and max_seconds {self.max_seconds:g} at "
                f"least twice that and {frames:g} more, so that no part of a clip is shorter than min_seconds"
            )
        if self.batch_seconds < self.max_seconds:
            raise ConfigError(
                f"batch_seconds {self.batch_seconds:g} must be at least max_seconds, {self.max_seconds:g}"
            )
        if self.workers < 0:
            raise ConfigError(f"workers is {self.workers}: give 0 or more")
        if self.augment.speed:
            raise ConfigError(
                f"augment.speed is {self.augment.speed:g}: give 0, for the student's frames must stand where "
                "the teacher's do, and a change of speed moves them"
            )

    @property
    def augments(self) -> bool:
        """Whether there is any augmentation."""
        kinds = (self.augment.room, self.augment.noise, self.augment.band, self.augment.telephone)
        return any((*kinds, self.augment.gain))


class Segment(NamedTuple):
    """Where a segment lies: position in `corpus.clips`, first sample and length at 16 kHz."""

    clip: int
    start: int
    samples: int


@dataclass(frozen=True)
class SegmentBatch:
    """Segments of similar length, with zeros behind the shorter ones."""

    audio: Tensor
    """(batch, samples), clean, in [-1, 1]: what the teacher sees."""
    views: tuple[Tensor, ...]
    """The same augmented, each view by its own chance; none where nothing is augmented."""
    lengths: Tensor
    """(batch,) int64, samples that count."""
    segments: tuple[int, ...]
    """Positions in what `segments` gives."""
    names: tuple[str, ...]
    """Of the clips they are cut from."""
    skipped: tuple[Skipped, ...] = ()

    @property
    def augmented(self) -> Tensor:
        """What the student sees, (batch, samples): the first view, or the clean audio if there is none."""
        return self.views[0] if self.views else self.audio

    @property
    def seconds(self) -> float:
        """Audio that counts, without padding."""
        return int(self.lengths.sum()) / SAMPLE_RATE


def segments(corpus: Corpus, config: SegmentConfig) -> tuple[Segment, ...]:
    """Cut the clips, in their order, into equal parts of at most max_seconds; short clips give none."""
    longest = int(config.max_seconds * SAMPLE_RATE) // FRAME
    return tuple(
        Segment(index, start, samples)
        for index, clip in enumerate(corpus.clips)
        if not _is_short(clip, config)
        for start, samples in _cut(clip.samples, longest)
    )


def segment_batches(
    corpus: Corpus,
    config: SegmentConfig,
    *,
    seed: int,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
    views: int = 1,
) -> Iterator[SegmentBatch]:
    """Yield batch number `start` and all that follow, without end; each epoch holds each segment once.

    A batch is a function of its number, the corpus, the configuration and the seed; its clean audio does not
    depend on `views`, the number of augmented ones. A segment that cannot be decoded or is silent is left
    out and reported in `skipped`; where none of a batch is left, the epoch's next one takes its place.
    """
    job = _Endless(_Reader(corpus, config, views, seed), config, rank, world)
    return map(_Made.batch, in_order(job, count(start), config.workers))


def segments_once(corpus: Corpus, config: SegmentConfig, wanted: Sequence[int]) -> Iterator[SegmentBatch]:
    """Yield those segments once, clean, the longest first; a batch may be empty, as bad ones are left out."""
    reader = _Reader(corpus, config, views=0, seed=0)
    chosen = np.array(wanted, dtype=np.int64)
    chosen = chosen[np.argsort(-reader.samples[chosen], kind="stable")]
    bounds = group(reader.samples[chosen], int(config.batch_seconds * SAMPLE_RATE))
    job = _Once(reader, np.split(chosen, bounds[1:-1]))
    return map(_Made.batch, in_order(job, range(len(bounds) - 1), config.workers))


def _is_short(clip: Clip, config: SegmentConfig) -> bool:
    return clip.samples < config.min_seconds * SAMPLE_RATE


def _cut(samples: int, longest: int) -> Iterator[tuple[int, int]]:
    """Give start and length of equal parts of at most `longest` steps of the grid, to within one step."""
    steps = -(-samples // FRAME)
    parts = -(-steps // longest)
    bounds = [part * steps // parts * FRAME for part in range(parts)] + [samples]
    yield from ((begin, end - begin) for begin, end in pairwise(bounds))


@dataclass(frozen=True)
class _Made:
    """A batch on its way from a worker."""

    audio: NDArray[np.float32] | Tensor  # (1 + views, batch, samples), the clean one first
    lengths: _Indices  # (batch,)
    segments: tuple[int, ...]
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def pin_memory(self) -> "_Made":
        """Let a GPU fetch the audio while it computes; torch calls this in a thread of the main process."""
        return replace(self, audio=torch.as_tensor(self.audio).pin_memory())

    def batch(self) -> SegmentBatch:
        clean, *views = torch.as_tensor(self.audio).unbind()
        lengths = torch.from_numpy(self.lengths)
        return SegmentBatch(clean, tuple(views), lengths, self.segments, self.names, self.skipped)


class _Reader:
    """Reads segments, and augments them."""

    def __init__(self, corpus: Corpus, config: SegmentConfig, views: int, seed: int) -> None:
        self.clips, self.segments = corpus.clips, segments(corpus, config)
        short = f"shorter than min_seconds, {config.min_seconds:g} s"
        self.short = tuple(Skipped(clip.name, short) for clip in corpus.clips if _is_short(clip, config))
        if not self.segments:
            raise DataError(
                f"all {len(corpus.clips)} clips of {corpus.source} are {short}: lower it or give longer clips"
            )
        self.samples = np.array([segment.samples for segment in self.segments])
        self.augment, self.seed = config.augment, seed
        self.views = views if config.augments else 0
        self.noises = open_noises(config.augment) if self.views else ()

    def read(self, wanted: _Indices, epoch: int, skipped: Sequence[Skipped]) -> _Made:
        """Make a batch of what can be used; `skipped` is what was found unusable before."""
        rows, good, bad = [], [], list(skipped)
        for index in wanted.tolist():
            clip, start, samples = self.segments[index]
            try:
                rows.append(sound(self.clips[clip], start, samples))
                good.append(index)
            except AudioError as error:
                bad.append(Skipped(self.clips[clip].name, str(error)))
        clean, lengths = pad(rows)
        audio = [clean]
        for view in range(self.views):
            streams = [np.random.default_rng([_VIEW, self.seed, epoch, index, view]) for index in good]
            changed = [augment(*pair, self.augment, self.noises) for pair in zip(rows, streams, strict=True)]
            audio.append(pad(changed)[0])
        names = tuple(self.clips[self.segments[index].clip].name for index in good)
        return _Made(np.stack(audio), lengths, tuple(good), names, tuple(bad))


class _Endless:
    """Training batches by number."""

    def __init__(self, reader: _Reader, config: SegmentConfig, rank: int, world: int) -> None:
        self.reader, self.rank, self.world = reader, rank, world
        # The sizes of the batches are those of every epoch, so that a batch's number tells its epoch; with
        # what jitter may bring in they are still within batch_seconds.
        budget = int(config.batch_seconds * SAMPLE_RATE / JITTER)
        self.bounds = group(-np.sort(-reader.samples), budget)
        self.planned = (0, self._plan(0))

    def __call__(self, number: int) -> _Made:
        per_epoch = len(self.bounds) - 1
        epoch, place = divmod(number * self.world + self.rank, per_epoch)
        groups = self._groups(epoch)
        skipped = self.reader.short if number == 0 else ()
        for step in range(per_epoch):
            made = self.reader.read(groups[(place + step) % per_epoch], epoch, skipped)
            if made.segments:
                return made
            skipped = made.skipped
        raise DataError(
            f"none of {len(self.reader.segments)} segments can be used ({skipped[-1].reason}): "
            "give other recordings"
        )

    def _groups(self, epoch: int) -> list[_Indices]:
        if self.planned[0] != epoch:
            self.planned = (epoch, self._plan(epoch))
        return self.planned[1]

    def _plan(self, epoch: int) -> list[_Indices]:
        rng = np.random.default_rng([_PLAN, self.reader.seed, epoch])
        return shuffled_groups(self.reader.samples, self.bounds, rng)


@dataclass(frozen=True)
class _Once:
    """Batches of chosen segments by number."""

    reader: _Reader
    groups: list[_Indices]

    def __call__(self, number: int) -> _Made:
        return self.reader.read(self.groups[number], 0, ())
