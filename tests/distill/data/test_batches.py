"""Batches: what is in them, that they repeat exactly, and what becomes of clips that cannot be decoded."""

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earkit.distill.data.augment import AugmentConfig
from earkit.distill.data.batches import Batch, DataConfig, _Crops, crop_batches, group, padded_batches
from earkit.distill.data.corpus import Clip, Corpus, open_corpus
from earkit.runtime.errors import ConfigError, DataError

CONFIG = DataConfig(max_seconds=0.5, min_seconds=0.15, batch_seconds=2.0, workers=0)
SPEED = dataclasses.replace(CONFIG, augment=AugmentConfig(speed=1.0, noise=0.5, gain=0.5))
CLIPS = 26


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 0.2 to 0.9 s at two rates; sample k of clip i is (i + 1) / 100 + k / 1e6, which tells both."""
    place = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for i in range(CLIPS):
        rate = (16000, 16000, 8000)[i % 3]
        time = np.arange(int(rate * rng.uniform(0.2, 0.9))) * (16000 / rate)
        soundfile.write(place / f"{i:02}.flac", (i + 1) / 100 + time / 1e6, rate, subtype="PCM_24")
    return place


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return open_corpus(folder)


def take(corpus: Corpus, count: int, config: DataConfig = CONFIG, **where: int) -> list[Batch]:
    return list(itertools.islice(crop_batches(corpus, config, **({"seed": 0} | where)), count))


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.audio, b.audio) and (a.names, a.source_rates) == (b.names, b.source_rates)
        for a, b in zip(left, right, strict=True)
    )


def epoch_length(corpus: Corpus) -> int:
    """Batches until all clips came once, by counting."""
    seen: set[str] = set()
    for number, batch in enumerate(crop_batches(corpus, CONFIG, seed=0), start=1):
        seen.update(batch.names)
        if len(seen) == len(corpus.clips):
            return number
    raise AssertionError


def test_batches_are_within_bounds_and_hold_what_they_say(corpus: Corpus) -> None:
    rates = {clip.name: clip.rate for clip in corpus.clips}
    for batch in take(corpus, 30):
        assert batch.audio.dtype == torch.float32
        assert batch.audio.shape[0] == len(batch.names) == len(set(batch.names))
        assert 0.15 * 16000 <= batch.audio.shape[1] <= 0.5 * 16000
        assert batch.seconds == batch.audio.numel() / 16000 <= 2.0
        assert batch.source_rates == tuple(rates[name] for name in batch.names)
        assert batch.skipped == ()


def test_crops_are_pieces_of_the_clips_they_name(corpus: Corpus) -> None:
    starts = []
    for batch in take(corpus, 20):
        for name, rate, crop in zip(batch.names, batch.source_rates, batch.audio.numpy(), strict=True):
            if rate == 16000:
                value = (int(name[:2]) + 1) / 100
                np.testing.assert_allclose(np.diff(crop), 1e-6, atol=2.0**-22)
                starts.append(round((float(crop[0]) - value) * 1e6))
    assert min(starts) >= 0
    assert len(set(starts)) > len(starts) / 2  # at random places


def test_clips_of_similar_length_are_together(corpus: Corpus) -> None:
    capped = {clip.name: min(clip.seconds, 0.5) for clip in corpus.clips}
    spreads = [max(capped[n] for n in b.names) - min(capped[n] for n in b.names) for b in take(corpus, 40)]
    assert np.mean(spreads) < 0.1 < max(capped.values()) - min(capped.values())


def test_an_epoch_holds_each_clip_once(corpus: Corpus) -> None:
    length = epoch_length(corpus)
    batches = take(corpus, 3 * length)
    for epoch in range(3):
        names = Counter(name for b in batches[epoch * length : (epoch + 1) * length] for name in b.names)
        assert names == Counter(clip.name for clip in corpus.clips)
    first, second = (batches[i * length : (i + 1) * length] for i in (0, 1))
    assert {b.names for b in first} != {b.names for b in second}  # grouped and ordered anew


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_an_epoch_without_overlap(corpus: Corpus, world: int) -> None:
    length = epoch_length(corpus)
    ranks = [take(corpus, length, rank=rank, world=world) for rank in range(world)]  # `world` epochs
    together = Counter(name for batches in ranks for b in batches for name in b.names)
    assert together == Counter({clip.name: world for clip in corpus.clips})
    alone = take(corpus, length * world)
    assert same([batches[n] for n in range(length) for batches in ranks], alone)


@pytest.mark.parametrize("config", [CONFIG, SPEED])
def test_resumes_exactly(corpus: Corpus, config: DataConfig) -> None:
    straight = take(corpus, 25, config, rank=1, world=2)
    for start in (1, 7, 20):
        assert same(take(corpus, 25 - start, config, rank=1, world=2, start=start), straight[start:])


def test_workers_change_nothing(corpus: Corpus) -> None:
    expected = take(corpus, 12, SPEED)
    for workers in (1, 2):
        assert same(take(corpus, 12, dataclasses.replace(SPEED, workers=workers)), expected)


def test_seeds_differ_and_global_generators_are_left_alone(corpus: Corpus) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert not same(take(corpus, 3, seed=0), take(corpus, 3, seed=1))
    take(corpus, 2, dataclasses.replace(SPEED, workers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_speed_keeps_lengths_within_bounds(corpus: Corpus) -> None:
    slowest = dataclasses.replace(
        CONFIG, min_seconds=0.2, augment=AugmentConfig(speed=1, speed_factor=(1.3, 1.5))
    )
    for batch in take(corpus, 30, slowest):
        assert 0.2 * 16000 <= batch.audio.shape[1] <= 0.5 * 16000
        assert batch.seconds <= 2.0


@pytest.mark.parametrize("world", [1, 2])
def test_a_corpus_smaller_than_a_batch(folder: Path, world: int) -> None:
    corpus = open_corpus(folder / "0[0-2].flac")
    config = dataclasses.replace(CONFIG, batch_seconds=100)
    ranks = [take(corpus, 4, config, rank=rank, world=world) for rank in range(world)]
    for batches in ranks:
        assert [len(b.names) for b in batches] == [3] * 4
    if world == 2:
        assert not same(ranks[0], ranks[1])


def test_short_clips_are_skipped_and_counted_once(corpus: Corpus) -> None:
    config = dataclasses.replace(CONFIG, min_seconds=0.45)
    short = {clip.name for clip in corpus.clips if clip.seconds < 0.45}
    first, *others = take(corpus, 12, config)
    assert short
    assert {s.name for s in first.skipped} == short
    assert not any(b.skipped for b in others)
    assert not short & {name for b in (first, *others) for name in b.names}
    assert take(corpus, 1, config, start=5)[0].skipped == ()
    with pytest.raises(DataError, match=r"all 26 clips of .* are shorter than min_seconds, 5 s"):
        crop_batches(corpus, DataConfig(max_seconds=5, min_seconds=5), seed=0)


def clip(path: Path, frames: int = 8000) -> Clip:
    return Clip(path.name, str(path), frames, 16000)


def spoil(folder: Path) -> list[Clip]:
    """Write one clip for everything that only decoding shows."""
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 8000)
    soundfile.write(folder / "cut.flac", samples, 16000)
    whole = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 3])
    soundfile.write(folder / "silent.flac", np.zeros(8000), 16000)
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(folder / "shorter.flac", samples[:3000], 16000)
    names = ("cut.flac", "silent.flac", "nan.wav", "shorter.flac", "vanished.flac")
    return [clip(folder / name) for name in names]


def test_bad_clips_are_reported_and_replaced_alike_every_time(corpus: Corpus, tmp_path: Path) -> None:
    bad = spoil(tmp_path)
    config = dataclasses.replace(CONFIG, min_seconds=0.3)  # over `shorter.flac`, whatever its crop
    mixed = Corpus(corpus.clips + tuple(bad))
    batches = take(mixed, 30, config)
    assert {s.name for b in batches for s in b.skipped} >= {c.name for c in bad}
    reasons = {s.name: s.reason for b in batches for s in b.skipped}
    for name, reason in {
        "cut.flac": "damaged",
        "silent.flac": "is silent",
        "nan.wav": "not finite",
        "shorter.flac": "shorter than its header|nothing stands|truncated",
        "vanished.flac": "No such file",
    }.items():
        assert any(part in reasons[name] for part in reason.split("|")), reasons[name]
    assert all(torch.isfinite(b.audio).all() and len(b.audio) == len(b.names) for b in batches)
    assert not {c.name for c in bad} & {name for b in batches for name in b.names}
    assert same(take(mixed, 10, config, start=20), batches[20:])
    assert same(take(mixed, 8, dataclasses.replace(config, workers=2)), batches[:8])


def test_a_batch_of_bad_clips_only_is_replaced_by_the_next(corpus: Corpus, tmp_path: Path) -> None:
    bad = spoil(tmp_path)
    config = dataclasses.replace(
        CONFIG, max_seconds=0.5, min_seconds=0.5, batch_seconds=0.5
    )  # batches of one
    good = tuple(c for c in corpus.clips if c.seconds >= 0.5)
    batches = take(Corpus(good + tuple(bad)), len(good) + len(bad), config)
    assert all(len(b.names) == 1 for b in batches)
    assert {s.name for b in batches for s in b.skipped} == {c.name for c in bad}


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_readable_is_one_sentence(tmp_path: Path, workers: int) -> None:
    corpus = Corpus(tuple(spoil(tmp_path)))
    with pytest.raises(DataError, match=r"^none of 5 clips can be used \(.*\): give other recordings$"):
        take(corpus, 1, dataclasses.replace(CONFIG, workers=workers))


def test_configuration() -> None:
    for wrong in (
        {"min_seconds": 0.0},
        {"min_seconds": 30.0},
        {"batch_seconds": 10.0},
        {"max_seconds": float("nan")},
        {"workers": -1},
    ):
        with pytest.raises(ConfigError, match=r"must be above 0|give 0 or more"):
            DataConfig(**wrong)


def test_group() -> None:
    assert group(np.array([5, 4, 3, 3, 2]), 9).tolist() == [0, 1, 3, 5]  # 1 x 5, 2 x 4, 2 x 3
    assert group(np.array([50]), 9).tolist() == [0, 1]  # longer than the budget


@pytest.mark.parametrize("workers", [0, 1])
def test_padded_batches_hold_each_whole_clip_once(corpus: Corpus, workers: int) -> None:
    batches = list(padded_batches(corpus, batch_seconds=3.0, max_seconds=0.8, workers=workers))
    assert sorted(i for b in batches for i in b.clips) == list(range(CLIPS))
    for batch in batches:
        assert batch.audio.numel() / 16000 <= 3.0
        assert batch.seconds == int(batch.lengths.sum()) / 16000
        for row, length, index in zip(batch.audio, batch.lengths.tolist(), batch.clips, strict=True):
            whole = corpus.clips[index].read().samples[: int(0.8 * 16000)]
            assert length == len(whole)
            assert torch.equal(row[:length], torch.from_numpy(whole)) or corpus.clips[index].rate == 8000
            np.testing.assert_allclose(row[:length], whole, atol=1e-5)
            assert not row[length:].any()
    longest = [int(b.lengths.max()) for b in batches]
    assert longest == sorted(longest, reverse=True)


def test_padded_batches_report_what_they_leave_out(corpus: Corpus, tmp_path: Path) -> None:
    bad = spoil(tmp_path)
    for clips in ((*corpus.clips, *bad), (*bad, *corpus.clips)):
        batches = list(padded_batches(Corpus(clips), batch_seconds=0.9))  # mostly batches of one
        assert len([i for b in batches for i in b.clips]) == CLIPS
        assert Counter(s.name for b in batches for s in b.skipped) == Counter(c.name for c in bad)
        assert all(b.names for b in batches)
    with pytest.raises(DataError, match="no clip of nowhere can be used"):
        list(padded_batches(Corpus(tuple(bad), source="nowhere")))


def test_one_short_clip_does_not_cut_the_long_ones() -> None:
    """Sized by its longest clip, a batch holds few lengths; sized by the shortest, one took in all."""
    clips = tuple(Clip(f"{s}", "none", s * 16_000, 16_000) for s in range(2, 21) for _ in range(3))
    crops = _Crops(Corpus(clips), DataConfig(batch_seconds=60.0), 0, 0, 1)
    used = sum(n * len(g) for n, g in zip(crops.planned[1].crops, crops.planned[1].groups, strict=True))
    assert used > 0.8 * 16_000 * sum(clip.seconds for clip in clips)
