"""Batches of audio: crops of a common length for pretraining, padded whole clips for everything else.

A batch is a function of its number, the corpus, the configuration and the seed, and of nothing else. So a run
resumes by asking for the next number, and gets the same batches with any number of workers.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earkit.distill.data.augment import AugmentConfig, augment, change_speed, draw_speeds, open_noises
from earkit.distill.data.corpus import Clip, Corpus, Skipped
from earkit.distill.data.workers import in_order
from earkit.runtime.audio import SAMPLE_RATE, Samples, is_silent
from earkit.runtime.errors import AudioError, ConfigError, DataError

_Indices = NDArray[np.int64]

_PLAN, _CROP, _REPLACE = 1, 2, 3  # what a random stream is for; it stands first in its seed
JITTER = 1.05  # lengths within 5 % count as alike, so that each epoch groups the clips anew


@dataclass(frozen=True)
class DataConfig:
    """How clips become pretraining batches; `batch_seconds` is for each process."""

    max_seconds: float = 20.0
    min_seconds: float = 2.0
    batch_seconds: float = 237.5
    workers: int = 2
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not 1 / SAMPLE_RATE <= self.min_seconds <= self.max_seconds <= self.batch_seconds:
            raise ConfigError(
                f"min_seconds {self.min_seconds:g}, max_seconds {self.max_seconds:g} and batch_seconds "
                f"{self.batch_seconds:g} must be above 0 and each at least as large as the one before"
            )
        if self.workers < 0:
            raise ConfigError(f"workers is {self.workers}: give 0 or more")


@dataclass(frozen=True)
class Batch:
    """Equally long clips, none padded."""

    audio: Tensor  # (batch, samples), in [-1, 1]
    names: tuple[str, ...]
    source_rates: tuple[int, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def seconds(self) -> float:
        """Audio in all clips together."""
        return self.audio.numel() / SAMPLE_RATE


@dataclass(frozen=True)
class PaddedBatch:
    """Whole clips, with zeros behind the shorter ones."""

    audio: Tensor  # (batch, samples), in [-1, 1]
    lengths: Tensor  # (batch,) int64, samples that count
    clips: tuple[int, ...]
    """Positions in `corpus.clips`, as these batches come in order of length."""
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def seconds(self) -> float:
        """Audio that counts, without padding."""
        return int(self.lengths.sum()) / SAMPLE_RATE


def crop_batches(
    corpus: Corpus, config: DataConfig, *, seed: int, rank: int = 0, world: int = 1, start: int = 0
) -> Iterator[Batch]:
    """Yield batch number `start` and all that follow, without end.

    Each epoch holds each clip once, spread over the `world`. A clip that cannot be decoded, or whose crop is
    silent, is reported in `skipped`, and another crop of a clip of its batch takes its place.
    """
    crops = _Crops(corpus, config, seed, rank, world)
    return map(_Rows.batch, in_order(crops, count(start), config.workers))


def padded_batches(
    corpus: Corpus, *, batch_seconds: float = 120.0, max_seconds: float = 30.0, workers: int = 0
) -> Iterator[PaddedBatch]:
    """Yield each clip once, the longest first, in batches of at most `batch_seconds` with their padding.

    Of a clip longer than `max_seconds` only that much is taken, from its beginning. A clip that cannot be
    decoded or is silent is left out, and reported in `skipped`.
    """
    lengths = np.minimum([clip.samples for clip in corpus.clips], int(max_seconds * SAMPLE_RATE))
    order = np.argsort(-lengths, kind="stable")
    bounds = group(lengths[order], int(batch_seconds * SAMPLE_RATE))
    whole = _Whole(corpus.clips, lengths, np.split(order, bounds[1:-1]))
    batches = map(_Rows.padded, in_order(whole, range(len(bounds) - 1), workers))
    return _without_empty(batches, corpus.source)


def group(lengths: _Indices, budget: int) -> _Indices:
    """Cut lengths, the longest first, into groups: the first times the group's size is within budget.

    So a group is within it when padded, and more so when cropped to its shortest; counting by the shortest
    would let one short clip gather, and cut, all longer ones. Returns the bounds, one more than groups.
    """
    bounds = [0]
    while bounds[-1] < len(lengths):
        size = max(1, budget // int(lengths[bounds[-1]]))
        bounds.append(min(len(lengths), bounds[-1] + size))
    return np.array(bounds)


def shuffled_groups(lengths: _Indices, bounds: _Indices, rng: np.random.Generator) -> list[_Indices]:
    """Sort by length with some jitter, cut at the bounds of `group`, shuffle the groups.

    A group's longest is at most `JITTER` times what stands in its place without jitter.
    """
    order = np.argsort(-lengths * rng.uniform(1 / JITTER, 1, len(lengths)), kind="stable")
    groups = np.split(order, bounds[1:-1])
    return [groups[i] for i in rng.permutation(len(groups))]


def pad(rows: Sequence[Samples]) -> tuple[NDArray[np.float32], _Indices]:
    """Put zeros behind the shorter ones. Returns audio (batch, samples) and lengths (batch,)."""
    lengths = np.array([len(samples) for samples in rows], dtype=np.int64)
    audio = np.zeros((len(rows), max(lengths, default=0)), np.float32)
    for row, samples in zip(audio, rows, strict=True):
        row[: len(samples)] = samples
    return audio, lengths


def sound(clip: Clip, start: int, samples: int) -> Samples:
    """Read exactly so many samples at 16 kHz that are not all silent."""
    found = clip.read(start / SAMPLE_RATE, samples / SAMPLE_RATE).samples
    if len(found) < samples:
        raise AudioError(f"{clip.name} is shorter than its header or manifest says: copy it again")
    if is_silent(found):
        whole = samples >= clip.samples
        raise AudioError(f"{clip.name} is silent{'' if whole else ' in the part that was wanted'}")
    return found


@dataclass(frozen=True)
class _Rows:
    """A batch on its way from a worker."""

    audio: NDArray[np.float32] | Tensor  # (batch, samples)
    lengths: _Indices  # (batch,)
    indices: tuple[int, ...]
    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]

    def pin_memory(self) -> "_Rows":
        """Let a GPU fetch the audio while it computes; torch calls this in a thread of the main process."""
        return replace(self, audio=torch.as_tensor(self.audio).pin_memory())

    def names(self) -> tuple[str, ...]:
        return tuple(clip.name for clip in self.clips)

    def batch(self) -> Batch:
        rates = tuple(clip.rate for clip in self.clips)
        return Batch(torch.as_tensor(self.audio), self.names(), rates, self.skipped)

    def padded(self) -> PaddedBatch:
        audio, lengths = torch.as_tensor(self.audio), torch.from_numpy(self.lengths)
        return PaddedBatch(audio, lengths, self.indices, self.names(), self.skipped)


@dataclass(frozen=True)
class _Epoch:
    """One pass over the corpus."""

    speeds: NDArray[np.float64]  # (clips,)
    groups: list[_Indices]  # in the order of training
    crops: list[int]  # samples, for each group


class _Crops:
    """Pretraining batches by number."""

    def __init__(self, corpus: Corpus, config: DataConfig, seed: int, rank: int, world: int) -> None:
        least = int(config.min_seconds * SAMPLE_RATE)
        short = f"shorter than min_seconds, {config.min_seconds:g} s"
        self.clips = tuple(clip for clip in corpus.clips if clip.samples >= least)
        self.short = tuple(Skipped(clip.name, short) for clip in corpus.clips if clip.samples < least)
        if not self.clips:
            raise DataError(
                f"all {len(corpus.clips)} clips of {corpus.source} are {short}: lower it or give longer clips"
            )
        self.config, self.seed, self.rank, self.world = config, seed, rank, world
        self.least, self.most = least, int(config.max_seconds * SAMPLE_RATE)
        self.samples = np.array([clip.samples for clip in self.clips])
        self.noises = open_noises(config.augment)
        # The sizes of the batches are those of every epoch, so that a batch's number tells its epoch.
        capped = -np.sort(-np.minimum(self.samples, self.most))
        self.bounds = group(capped, int(config.batch_seconds * SAMPLE_RATE))
        self.planned = (0, self._plan(0))

    def __call__(self, number: int) -> _Rows:
        """Make a batch; where none of its clips can be decoded, of the next clips of its epoch."""
        per_epoch = len(self.bounds) - 1
        epoch, place = divmod(number * self.world + self.rank, per_epoch)
        skipped = list(self.short) if number == 0 else []
        for step in range(per_epoch):
            rows = self._rows(epoch, (place + step) % per_epoch, skipped)
            if rows:
                indices = tuple(index for index, _ in rows)
                audio = np.stack([samples for _, samples in rows])
                lengths = np.full(len(rows), audio.shape[1])
                return _Rows(audio, lengths, indices, tuple(self.clips[i] for i in indices), tuple(skipped))
        raise DataError(
            f"none of {len(self.clips)} clips can be used ({skipped[-1].reason}): give other recordings"
        )

    def _epoch(self, epoch: int) -> _Epoch:
        if self.planned[0] != epoch:
            self.planned = (epoch, self._plan(epoch))
        return self.planned[1]

    def _plan(self, epoch: int) -> _Epoch:
        """Draw speeds, then groups of clips that are alike in length at that speed."""
        rng = np.random.default_rng([_PLAN, self.seed, epoch])
        speeds = draw_speeds(len(self.clips), rng, self.config.augment)
        speeds = np.minimum(speeds, self.samples / self.least)  # no clip gets shorter than min_seconds
        lengths = np.minimum((self.samples / speeds).astype(np.int64), self.most)
        groups = shuffled_groups(lengths, self.bounds, rng)
        return _Epoch(speeds, groups, [self._crop_length(lengths[members]) for members in groups])

    def _crop_length(self, lengths: _Indices) -> int:
        """Crop a group to its shortest clip, or further where jitter brought more length than the budget."""
        return min(int(lengths.min()), int(self.config.batch_seconds * SAMPLE_RATE) // len(lengths))

    def _rows(self, number: int, place: int, skipped: list[Skipped]) -> list[tuple[int, Samples]]:
        """Crop the clips of a group, with stand-ins for the bad ones; nothing if all are bad."""
        epoch = self._epoch(number)
        length = epoch.crops[place]
        rows: list[tuple[int, Samples]] = []
        bad: list[int] = []
        for index in epoch.groups[place].tolist():
            try:
                rng = np.random.default_rng([_CROP, self.seed, number, index])
                rows.append((index, self._crop(index, length, float(epoch.speeds[index]), rng)))
            except AudioError as error:
                bad.append(index)
                skipped.append(Skipped(self.clips[index].name, str(error)))
        good = rows.copy()
        for index in bad if good else ():
            rng = np.random.default_rng([_REPLACE, self.seed, number, index])
            other, samples = good[rng.integers(len(good))]
            with suppress(AudioError):  # a silent part of a good clip: its first crop serves twice
                samples = self._crop(other, length, float(epoch.speeds[other]), rng)
            rows.append((other, samples))
        return rows

    def _crop(self, index: int, length: int, speed: float, rng: np.random.Generator) -> Samples:
        """Read only as much as `length` samples need, from anywhere in the clip."""
        clip, whole = self.clips[index], int(self.samples[index])
        needed = min(whole, math.ceil(length * speed))
        start = int(rng.integers(whole - needed + 1))
        samples = change_speed(sound(clip, start, needed), speed)[:length]
        return augment(samples, rng, self.config.augment, self.noises)


class _Whole:
    """Padded batches by number."""

    def __init__(self, clips: tuple[Clip, ...], lengths: _Indices, groups: list[_Indices]) -> None:
        self.clips, self.lengths, self.groups = clips, lengths, groups

    def __call__(self, number: int) -> _Rows:
        rows: list[tuple[int, Samples]] = []
        skipped: list[Skipped] = []
        for index in self.groups[number].tolist():
            try:
                rows.append((index, sound(self.clips[index], 0, int(self.lengths[index]))))
            except AudioError as error:
                skipped.append(Skipped(self.clips[index].name, str(error)))
        audio, lengths = pad([samples for _, samples in rows])
        indices = tuple(index for index, _ in rows)
        return _Rows(audio, lengths, indices, tuple(self.clips[i] for i in indices), tuple(skipped))


def _without_empty(batches: Iterator[PaddedBatch], source: str) -> Iterator[PaddedBatch]:
    """Let batches of which no clip was left pass on what they skipped to a neighbour."""
    held: PaddedBatch | None = None
    for batch in batches:
        if held is None:
            held = batch
        elif not batch.names:
            held = replace(held, skipped=held.skipped + batch.skipped)
        elif not held.names:
            held = replace(batch, skipped=held.skipped + batch.skipped)
        else:
            yield held
            held = batch
    if held is None or not held.names:
        reason = f" ({held.skipped[0].reason})" if held and held.skipped else ""
        raise DataError(f"no clip of {source} can be used{reason}: give other recordings")
    yield held
