"""Pretraining batches: similar lengths together, cropped at random to a common one, so nothing is padded.

Batch number n is a function of (corpus, configuration, seed, rank, world, n) and of nothing else, whatever
the number of workers: a run resumes exactly by asking for the batch it stopped at.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from earkit.distill.augment import AugmentConfig, augment, change_speed, draw_speed
from earkit.distill.corpus import Clip, Corpus, Skipped
from earkit.runtime.audio import SAMPLE_RATE, Samples, is_silent
from earkit.runtime.errors import AudioError, ConfigError, DataError, EarkitError

PREFETCH = 4


@dataclass(frozen=True)
class DataConfig:
    """Seconds of audio per clip and per batch (of one process), loading and augmentation."""

    max_seconds: float = 20.0
    min_seconds: float = 2.0
    batch_seconds: float = 237.5
    workers: int = 2
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not 0.1 <= self.min_seconds <= self.max_seconds <= self.batch_seconds or self.workers < 0:
            raise ConfigError(
                "data needs 0.1 <= min_seconds <= max_seconds <= batch_seconds and workers >= 0"
            )


@dataclass(frozen=True)
class Batch:
    """Equally long clips, as decoded: in [-1, 1], not standardised."""

    audio: Tensor  # (batch, samples)
    names: tuple[str, ...]
    source_rates: tuple[int, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def seconds(self) -> float:
        """Of audio, all clips together."""
        return self.audio.numel() / SAMPLE_RATE


def crop_batches(
    corpus: Corpus, config: DataConfig, *, seed: int, rank: int = 0, world: int = 1, start: int = 0
) -> Iterator[Batch]:
    """Batches without end, from number `start`; the processes of a world get different ones."""
    dataset = _Crops(corpus, config, seed, rank, world)
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=_CountFrom(start),
        num_workers=config.workers,
        prefetch_factor=PREFETCH if config.workers else None,
        worker_init_fn=_begin_worker,
    )
    for batch in loader:
        if isinstance(batch, EarkitError):
            raise batch
        yield batch


def _begin_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole terminal: the training process ends its step and saves, and needs us for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _CountFrom(torch.utils.data.Sampler[int]):
    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        number = self.start
        while True:
            yield number
            number += 1


class _Crops(Dataset[Batch | EarkitError]):
    """Batch by number."""

    def __init__(self, corpus: Corpus, config: DataConfig, seed: int, rank: int, world: int) -> None:
        long_enough = [c.seconds >= config.min_seconds for c in corpus.clips]
        self.clips = [c for c, usable in zip(corpus.clips, long_enough, strict=True) if usable]
        if not self.clips:
            raise DataError(
                f"all {len(corpus.clips)} clips of {corpus.source} are shorter than the {config.min_seconds} s "
                "of data.min_seconds"
            )
        self.short = tuple(
            Skipped(c.name, f"too short: {c.seconds:.2f} s, data.min_seconds is {config.min_seconds}")
            for c, usable in zip(corpus.clips, long_enough, strict=True)
            if not usable
        )
        self.config, self.seed, self.rank, self.world = config, seed, rank, world
        self.capped = np.minimum([c.seconds for c in self.clips], config.max_seconds)
        self._planned: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def __getitem__(self, number: int) -> Batch | EarkitError:
        try:
            return self._batch(number)
        except EarkitError as error:  # raised again in the training process, unwrapped
            return error

    def _batch(self, number: int) -> Batch:
        per_epoch = len(self._plan(0)) // self.world
        epoch, place = divmod(number, per_epoch)
        members = self._plan(epoch)[place * self.world + self.rank]
        seconds = float(self.capped[members].min())
        crops, skipped = [], list(self.short) if number == 0 else []
        for index in members:
            crop = self._crop(int(index), seconds, epoch, 0)
            if isinstance(crop, Skipped):
                skipped.append(crop)
            else:
                crops.append((self.clips[index], crop))
        crops += self._replacements(members, crops, seconds, epoch, skipped)
        length = min(len(samples) for _, samples in crops)  # rounding of rates may take a sample
        return Batch(
            torch.from_numpy(np.stack([samples[:length] for _, samples in crops])),
            tuple(clip.name for clip, _ in crops),
            tuple(clip.rate for clip, _ in crops),
            tuple(skipped),
        )

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """Shuffle, group by length up to `batch_seconds`, shuffle the groups, even out over the world."""
        if self._planned[0] == epoch:
            return self._planned[1]
        rng = np.random.default_rng([self.seed, epoch])
        jittered = self.capped * rng.uniform(0.95, 1.05, len(self.clips))
        order = np.argsort(-np.minimum(jittered, 0.95 * self.config.max_seconds), kind="stable")
        shuffled = rng.permutation(len(order))  # ties, that is clips over the maximum, in random order
        order = order[np.lexsort((shuffled, -np.minimum(jittered[order], 0.95 * self.config.max_seconds)))]
        groups, begin = [], 0
        while begin < len(order):
            longest = self.capped[order[begin : begin + 64]].max()
            size = max(1, int(self.config.batch_seconds / longest))
            groups.append(order[begin : begin + size])
            begin += size
        if len(groups) > 1 and len(groups[-1]) < len(groups[0]) / 2:
            groups.pop()  # a small last batch would weigh its clips more than the others
        groups = [groups[i] for i in rng.permutation(len(groups))]
        least = self._least_groups(len(groups))
        self._planned = (epoch, [groups[i % len(groups)] for i in range(least)])
        return self._planned[1]

    def _least_groups(self, groups: int) -> int:
        """As many as every epoch has, a multiple of the world: lengths jitter, so that epochs differ by some."""
        if self._planned[0] >= 0:
            return len(self._planned[1])
        return max(self.world, groups // self.world * self.world)

    def _crop(self, index: int, seconds: float, epoch: int, attempt: int) -> Samples | Skipped:
        clip = self.clips[index]
        rng = np.random.default_rng([self.seed, epoch, index, attempt])
        factor = draw_speed(self.config.augment, rng)
        wanted = min(seconds * factor, clip.seconds)
        start = float(rng.uniform(0, clip.seconds - wanted))
        try:
            samples = clip.read(start=start, seconds=wanted).samples
        except AudioError as error:
            return Skipped(clip.name, str(error))
        if is_silent(samples):
            return Skipped(clip.name, "silent")
        samples = _to_length(change_speed(samples, factor), int(seconds * SAMPLE_RATE))
        return augment(samples, self.config.augment, rng)

    def _replacements(
        self,
        members: NDArray[np.int64],
        good: list[tuple[Clip, Samples]],
        seconds: float,
        epoch: int,
        skipped: list[Skipped],
    ) -> list[tuple[Clip, Samples]]:
        """Stand-ins for clips that failed: other crops of the batch's own clips, else any of the corpus."""
        found: list[tuple[Clip, Samples]] = []
        missing = len(members) - len(good)
        attempt = 1
        while missing and good and len(found) < missing and attempt < 4:
            for index in members:
                crop = self._crop(int(index), seconds, epoch, attempt)
                if len(found) < missing and not isinstance(crop, Skipped):
                    found.append((self.clips[index], crop))
            attempt += 1
        if good or found:
            return found
        for index in np.random.default_rng([self.seed, epoch, int(members[0])]).permutation(len(self.clips)):
            if self.capped[index] >= seconds or len(self.clips) == len(members):
                crop = self._crop(int(index), seconds, epoch, 0)
                if not isinstance(crop, Skipped):
                    return [(self.clips[index], crop)]
        raise DataError(
            f"none of the {len(self.clips)} clips can be read; the first failed with: {skipped[0].reason}"
        )


def _to_length(samples: Samples, length: int) -> Samples:
    """Cut, or for a clip that a faster speed left short, repeat its end."""
    if len(samples) >= length:
        return samples[:length]
    return np.pad(
        samples, (0, length - len(samples)), mode="reflect" if len(samples) > length // 2 else "wrap"
    )
