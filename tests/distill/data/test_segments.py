"""Segments: where clips are cut, what is in a batch of them, and that both repeat exactly."""

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earkit.distill.data.augment import AugmentConfig
from earkit.distill.data.corpus import Clip, Corpus, open_corpus
from earkit.distill.data.segments import (
    Segment,
    SegmentBatch,
    SegmentConfig,
    _Endless,
    _Reader,
    segment_batches,
    segments,
    segments_once,
)
from earkit.runtime.audio import read
from earkit.runtime.errors import ConfigError, DataError

CONFIG = SegmentConfig(max_seconds=0.4, min_seconds=0.15, batch_seconds=1.5, workers=0)
NOISY = dataclasses.replace(CONFIG, augment=AugmentConfig(noise=1.0, gain=0.5))
CLIPS = 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 0.2 to 1 s of noise at two rates."""
    place = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for i in range(CLIPS):
        rate = (16000, 16000, 8000)[i % 3]
        samples = rng.uniform(-0.5, 0.5, int(rate * rng.uniform(0.2, 1.0)))
        soundfile.write(place / f"{i:02}.wav", samples, rate, subtype="FLOAT")
    return place


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return open_corpus(folder)


def unread(*samples: int) -> Corpus:
    return Corpus(tuple(Clip(f"{i}", f"/{i}.wav", n, 16000) for i, n in enumerate(samples)), source="here")


def take(corpus: Corpus, count: int, config: SegmentConfig = CONFIG, **where: int) -> list[SegmentBatch]:
    return list(itertools.islice(segment_batches(corpus, config, **({"seed": 0} | where)), count))


def same(left: list[SegmentBatch], right: list[SegmentBatch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.audio, b.audio)
        and torch.equal(a.augmented, b.augmented)
        and torch.equal(a.lengths, b.lengths)
        and (a.segments, a.names) == (b.segments, b.names)
        for a, b in zip(left, right, strict=True)
    )


def epoch_length(corpus: Corpus) -> int:
    """Batches until all segments came once, by counting."""
    seen: set[int] = set()
    for number, batch in enumerate(segment_batches(corpus, CONFIG, seed=0), start=1):
        seen.update(batch.segments)
        if len(seen) == len(segments(corpus, CONFIG)):
            return number
    raise AssertionError


def test_a_clip_is_cut_as_by_hand() -> None:
    # 0.4 s are 10 steps of 640. 16000 samples are 25 steps: three parts of 8, 8 and 9. 2000 are too short.
    assert segments(unread(16000, 2000, 6400), CONFIG) == (
        Segment(0, 0, 5120),
        Segment(0, 5120, 5120),
        Segment(0, 10240, 5760),
        Segment(2, 0, 6400),
    )


@pytest.mark.parametrize("longest", [0.4, 0.41, 1.0])
def test_parts_cover_a_clip_within_bounds_and_are_equal(longest: float) -> None:
    config = SegmentConfig(max_seconds=longest, min_seconds=(longest - 0.08) / 2 - 1e-9, batch_seconds=2)
    for samples in [*range(7400, 40000, 311), *range(7680, 40000, 640)]:
        parts = segments(unread(samples), config)
        sizes = [part.samples for part in parts]
        assert [part.start for part in parts] == [sum(sizes[:i]) for i in range(len(parts))]
        assert sum(sizes) == samples
        assert all(part.start % 640 == 0 for part in parts)
        assert config.min_seconds <= min(sizes) / 16000
        assert max(sizes) / 16000 <= longest
        assert max(sizes) - min(sizes) < 2 * 640


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": AugmentConfig(speed=0.1)}, "augment.speed is 0.1: give 0, .*teacher"),
        ({"min_seconds": 0.0}, "min_seconds 0 must be above 0"),
        ({"min_seconds": 0.17}, "max_seconds 0.4 at least twice"),
        ({"batch_seconds": 0.3}, "batch_seconds 0.3 must be at least max_seconds, 0.4"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_batches_hold_the_segments_that_they_name(corpus: Corpus) -> None:
    whole = [read(Path(clip.path)).samples for clip in corpus.clips]
    for batch in take(corpus, 20):
        assert batch.audio.shape == (len(batch.segments), int(batch.lengths.max()))
        assert batch.audio.dtype == torch.float32
        assert batch.lengths.dtype == torch.int64
        assert batch.seconds == sum(batch.lengths.tolist()) / 16000
        for row, length, number, name in zip(
            batch.audio.numpy(), batch.lengths.tolist(), batch.segments, batch.names, strict=True
        ):
            clip, start, samples = segments(corpus, CONFIG)[number]
            assert (corpus.clips[clip].name, samples) == (name, length)
            # To the sample also at 8 kHz, where a part is resampled with a little of its surroundings.
            np.testing.assert_allclose(row[:length], whole[clip][start : start + samples], atol=2e-3)
            assert not row[length:].any()


def test_batches_are_of_similar_length_and_within_their_size(corpus: Corpus) -> None:
    batches = take(corpus, 40)
    assert max(batch.audio.numel() for batch in batches) <= 1.5 * 16000
    assert max(len(batch.segments) for batch in batches) > 3
    spreads = [int(batch.lengths.max() - batch.lengths.min()) for batch in batches]
    everything = [segment.samples for segment in segments(corpus, CONFIG)]
    assert np.mean(spreads) < 0.4 * (max(everything) - min(everything))


def test_jitter_never_brings_in_too_long_a_segment() -> None:
    # Four of the shorter ones fit, of the longer ones three; jitter mixes them.
    config = dataclasses.replace(CONFIG, batch_seconds=4 * 5000 / 16000)
    plan = _Endless(_Reader(unread(*range(4900, 5140, 2)), config, views=0, seed=0), config, 0, 1)
    samples = plan.reader.samples
    for epoch in range(20):
        assert max(len(members) * samples[members].max() for members in plan._groups(epoch)) <= 4 * 5000


def test_an_epoch_holds_each_segment_once_in_new_groups(corpus: Corpus) -> None:
    length, everything = epoch_length(corpus), Counter(range(len(segments(corpus, CONFIG))))
    batches = take(corpus, 3 * length)
    epochs = [batches[i * length : (i + 1) * length] for i in range(3)]
    for epoch in epochs:
        assert Counter(s for batch in epoch for s in batch.segments) == everything
    assert {b.segments for b in epochs[0]} != {b.segments for b in epochs[1]}


def test_ranks_share_an_epoch(corpus: Corpus) -> None:
    length = epoch_length(corpus)
    ranks = [take(corpus, length, NOISY, rank=rank, world=2) for rank in range(2)]
    assert same([b for pair in zip(*ranks, strict=True) for b in pair], take(corpus, 2 * length, NOISY))


def test_resumes_exactly_with_any_number_of_workers(corpus: Corpus) -> None:
    straight = take(corpus, 14, NOISY, rank=1, world=2)
    for start in (3, 9):
        assert same(take(corpus, 14 - start, NOISY, rank=1, world=2, start=start), straight[start:])
    assert same(take(corpus, 14, dataclasses.replace(NOISY, workers=2), rank=1, world=2), straight)


def test_seeds_give_other_groups_and_other_views(corpus: Corpus) -> None:
    first, second = take(corpus, 14, NOISY), take(corpus, 14, NOISY, seed=1)
    assert [b.segments for b in first] != [b.segments for b in second]
    views = [
        {number: float(row[0]) for b in batches for number, row in zip(b.segments, b.augmented, strict=True)}
        for batches in (first, second)
    ]
    assert all(views[0][number] != views[1][number] for number in views[0].keys() & views[1].keys())


def test_nothing_is_augmented_unless_asked_for(corpus: Corpus) -> None:
    for batch in (*take(corpus, 2, views=2), *take(corpus, 2, NOISY, views=0)):
        assert batch.views == ()
        assert batch.augmented is batch.audio


def test_views_change_neither_clean_audio_nor_each_other(corpus: Corpus) -> None:
    for plain, one, two in zip(
        take(corpus, 8), take(corpus, 8, NOISY), take(corpus, 8, NOISY, views=2), strict=True
    ):
        assert torch.equal(plain.audio, one.audio)
        assert torch.equal(plain.audio, two.audio)
        assert torch.equal(one.augmented, two.views[0])
        assert (len(one.views), len(two.views)) == (1, 2)
        for view, other in itertools.permutations([two.audio, *two.views], 2):
            for row, other_row, length in zip(view, other, two.lengths.tolist(), strict=True):
                assert not torch.allclose(row[:length], other_row[:length], atol=1e-3)
                assert not row[length:].any()


def test_each_epoch_augments_anew(corpus: Corpus) -> None:
    views: dict[int, list[torch.Tensor]] = {}
    for batch in take(corpus, 2 * epoch_length(corpus), NOISY):
        for number, row, length in zip(batch.segments, batch.augmented, batch.lengths.tolist(), strict=True):
            views.setdefault(number, []).append(row[:length])
    assert not any(torch.equal(*pair) for pair in views.values())


@pytest.fixture
def flawed(tmp_path: Path) -> Corpus:
    """Clips of 0.3 s; 3 is damaged, 4 has a second part, from 4480 on, that is silent; 5 is too short."""
    rng = np.random.default_rng(0)
    for i in range(6):
        samples = rng.uniform(-0.5, 0.5, {4: 9600, 5: 2000}.get(i, 4800))
        samples[4480:] = 0
        soundfile.write(tmp_path / f"{i}.wav", samples, 16000)
    corpus = open_corpus(tmp_path)
    (tmp_path / "3.wav").write_bytes(b"RIFF")
    return corpus


def test_bad_segments_are_left_out_and_reported(flawed: Corpus) -> None:
    config = dataclasses.replace(NOISY, batch_seconds=4.0)  # all in one
    first, second = take(flawed, 2, config)
    assert sorted(first.segments) == sorted(second.segments) == [0, 1, 2, 4]
    assert first.views[0].shape == first.audio.shape == (4, 4800)
    assert sorted(skipped.name for skipped in second.skipped) == ["3.wav", "4.wav"]
    assert {s.name: s.reason for s in first.skipped}["5.wav"] == "shorter than min_seconds, 0.15 s"
    reasons = {s.name: s.reason for s in second.skipped}
    assert "silent in the part" in reasons["4.wav"]


def test_the_next_batch_stands_in_for_one_that_is_bad(flawed: Corpus) -> None:
    config = dataclasses.replace(CONFIG, batch_seconds=0.4)  # one segment each, six in an epoch
    batches = take(flawed, 6, config)
    assert all(len(batch.segments) == 1 for batch in batches)
    assert {s for batch in batches for s in batch.segments} == {0, 1, 2, 4}
    assert {s.name for batch in batches for s in batch.skipped} == {"3.wav", "4.wav", "5.wav"}


def test_a_corpus_without_one_good_segment_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    corpus = open_corpus(tmp_path)
    with pytest.raises(DataError, match=r"none of 2 segments can be used \(a\.wav is silent"):
        take(corpus, 1)
    with pytest.raises(DataError, match=r"all 1 clips of .* are shorter than min_seconds, 1 s"):
        take(corpus, 1, SegmentConfig(min_seconds=1.0))


def test_once_gives_the_wanted_segments_longest_first(corpus: Corpus, flawed: Corpus) -> None:
    cut = segments(corpus, CONFIG)
    wanted = list(range(1, len(cut), 2))
    batches = list(segments_once(corpus, CONFIG, wanted))
    given = [s for batch in batches for s in batch.segments]
    assert sorted(given) == wanted
    assert [cut[s].samples for s in given] == sorted((cut[s].samples for s in wanted), reverse=True)
    assert max(batch.audio.numel() for batch in batches) <= 1.5 * 16000
    assert not any(batch.views for batch in batches)
    (empty,) = segments_once(flawed, CONFIG, [3])
    assert (empty.segments, len(empty.skipped)) == ((), 1)
    assert list(segments_once(corpus, CONFIG, [])) == []
