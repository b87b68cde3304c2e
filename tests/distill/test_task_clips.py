"""Labelled clips: how they are divided, and what may happen to their views."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earkit.distill.data.augment import AugmentConfig
from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.distill.data.segments import SegmentConfig
from earkit.distill.task_clips import TaskClips, ViewBatch, ViewConfig, as_they_are, divide, view_batches
from earkit.runtime.errors import DataError

DATA = SegmentConfig(max_seconds=2.0, min_seconds=0.2, batch_seconds=4.0, workers=0)
STILL = ViewConfig(speed=0.0, cut=0.0, silence=0.0)
CLIPS = 12


def ramp(samples: int) -> np.ndarray:
    """A value for each sample, so that a piece tells where it was cut."""
    return np.linspace(0.1, 0.9, samples)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Two classes of six clips, from 0.25 s on; one is of more than max_seconds."""
    rows = ["path,label"]
    for i in range(CLIPS):
        soundfile.write(
            tmp_path / f"{i:02}.wav", ramp(4000 + 800 * i if i else 40000), 16000, subtype="FLOAT"
        )
        rows.append(f"{i:02}.wav,{'ab'[i % 2]}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    return open_corpus(tmp_path)


def epoch(
    corpus: Corpus, data: SegmentConfig, views: ViewConfig, start: int = 0, seed: int = 0
) -> list[ViewBatch]:
    return list(islice(view_batches(corpus, data, views, seed=seed, start=start), 6))


def row(batches: list[ViewBatch], clip: int) -> torch.Tensor:
    batch = next(b for b in batches if clip in b.clips)
    i = batch.clips.index(clip)
    assert not batch.audio[i, batch.lengths[i] :].any()
    return batch.audio[i, : batch.lengths[i]]


def test_without_change_a_view_is_the_clip(corpus: Corpus) -> None:
    batches = epoch(corpus, DATA, STILL)
    for clip in range(1, CLIPS):
        np.testing.assert_allclose(row(batches, clip), ramp(4000 + 800 * clip), atol=1e-6)
    piece = row(batches, 0)
    assert len(piece) == 32000
    step = 0.8 / 39999
    np.testing.assert_allclose(piece[1:] - piece[:-1], step, rtol=0.02)


def test_each_epoch_has_every_clip_once_and_batches_stay_within_budget(corpus: Corpus) -> None:
    views = ViewConfig(speed=1.0, speed_factor=(0.8, 1.2), cut=0.2, silence=0.1)
    endless = view_batches(corpus, DATA, views, seed=3)
    seen: list[int] = []
    while len(seen) < 3 * CLIPS:
        batch = next(endless)
        assert len(batch.clips) == 1 or batch.audio.numel() <= 4.0 * 16000
        seen += batch.clips
    assert all(sorted(seen[i : i + CLIPS]) == list(range(CLIPS)) for i in range(0, len(seen), CLIPS))


def test_silence_cut_and_speed_each_do_as_they_say(corpus: Corpus) -> None:
    whole = 4000 + 800 * 5
    quiet = row(epoch(corpus, DATA, replace(STILL, silence=0.1)), 5)
    sounding = np.flatnonzero(quiet)
    assert len(sounding) == whole
    assert 0 < sounding[0] <= 1600
    assert whole < len(quiet) <= whole + 3200
    cut = row(epoch(corpus, DATA, replace(STILL, cut=0.2)), 5)
    assert 0.8 * whole - 1 <= len(cut) < whole
    first = int(np.argmin(abs(ramp(whole) - float(cut[0]))))
    np.testing.assert_allclose(cut, ramp(whole)[first : first + len(cut)], atol=1e-5)
    slow = row(epoch(corpus, DATA, replace(STILL, speed=1.0, speed_factor=(0.8, 0.8))), 5)
    assert len(slow) == pytest.approx(whole / 0.8, abs=2)


def test_sound_changes_and_epochs_differ_but_a_number_is_a_batch(corpus: Corpus) -> None:
    data = replace(DATA, augment=AugmentConfig(noise=1.0))
    batches = epoch(corpus, data, STILL)
    assert (row(batches, 5) - torch.from_numpy(ramp(8000))).std() > 1e-3
    again = epoch(corpus, data, STILL, start=2)
    assert all(torch.equal(a.audio, b.audio) for a, b in zip(batches[2:], again, strict=False))
    other = epoch(corpus, data, STILL, seed=1)
    assert not torch.equal(row(batches, 5), row(other, 5))
    later = list(islice(view_batches(corpus, data, STILL, seed=0), 30))[15:]
    assert not torch.equal(row(batches, 5), row(later, 5))


def test_ranks_share_an_epoch(corpus: Corpus) -> None:
    alone = list(islice(view_batches(corpus, DATA, STILL, seed=0), 4))
    shared = [list(islice(view_batches(corpus, DATA, STILL, seed=0, rank=r, world=2), 2)) for r in (0, 1)]
    assert [b.clips for b in alone] == [shared[i % 2][i // 2].clips for i in range(4)]


def test_a_view_is_never_shorter_than_a_clip_may_be(corpus: Corpus) -> None:
    views = ViewConfig(speed=1.0, speed_factor=(2.0, 2.0), cut=0.0, silence=0.0)
    assert len(row(epoch(corpus, DATA, views), 1)) == 3200


def test_bad_clips_are_left_out_and_told(corpus: Corpus) -> None:
    silent = Path(corpus.clips[3].path)
    soundfile.write(silent, np.zeros(corpus.clips[3].samples), 16000)
    batches = epoch(corpus, DATA, STILL)
    assert all(3 not in b.clips for b in batches)
    assert {s.name for b in batches for s in b.skipped} == {"03.wav"}
    for clip in corpus.clips:
        soundfile.write(clip.path, np.zeros(clip.samples), 16000)
    with pytest.raises(DataError, match="none of 12 clips can be used"):
        epoch(corpus, DATA, STILL)


def test_divided_clips_keep_their_labels(corpus: Corpus) -> None:
    parts = divide(corpus, DATA, "label", 0.34, seed=0)
    assert (len(parts.train.clips), len(parts.held.clips)) == (8, 4)
    assert np.bincount(parts.held_labels).tolist() == [2, 2]
    for clips, labels in ((parts.train.clips, parts.labels), (parts.held.clips, parts.held_labels)):
        assert [c.labels["label"] for c in clips] == [parts.classes[k] for k in labels]
    assert {c.name for c in parts.train.clips}.isdisjoint(c.name for c in parts.held.clips)
    assert sorted(i for b in as_they_are(parts.held, DATA) for i in b.clips) == [0, 1, 2, 3]


def test_short_clips_are_left_out_and_few_are_not_held_out(corpus: Corpus) -> None:
    def parts(min_seconds: float) -> TaskClips:
        return divide(corpus, replace(DATA, min_seconds=min_seconds), "label", 0.34, seed=0)

    some = parts(0.31)  # leaves out one clip of b: five are enough
    assert len(some.held.clips) == 4
    assert [(s.name, s.reason[:12]) for s in some.train.skipped] == [("01.wav", "shorter than")]
    few = parts(0.41)
    assert (len(few.train.clips), len(few.held.clips)) == (9, 0)
    with pytest.raises(
        DataError, match=r"all clips of the class b of .* are shorter than data\.min_seconds, 0\.82"
    ):
        parts(0.82)
