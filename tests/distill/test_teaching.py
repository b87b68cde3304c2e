"""A teacher at work: pooled targets, the same from the cache as live, and a fingerprint of its files."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from earkit.distill.data.corpus import open_corpus
from earkit.distill.data.segments import SegmentBatch, SegmentConfig, segment_batches, segments
from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher
from earkit.distill.losses.codes import CodesConfig
from earkit.distill.losses.relations import RelationsConfig
from earkit.distill.objective import FrameLosses, LossesConfig
from earkit.distill.teachers.huggingface import Teacher, TeacherFrames, load
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets
from earkit.runtime.errors import CheckpointError

CPU = torch.device("cpu")
DATA = SegmentConfig(max_seconds=0.5, min_seconds=0.1, batch_seconds=1.5, workers=0)
NEEDS = Needs(frozenset({1, 3}), frozenset({2}), codes=True)
HALF = {"rtol": 2**-11, "atol": 2**-20}
MAP = ((1, 1), (2, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teaching")
    torch.manual_seed(0)
    shape = {"depth": 3, "dim": 32, "heads": 4, "conv_dim": 16, "codebooks": 2, "codebook_size": 8}
    save_teacher(DinoSR(DinoSRConfig(**shape)).eval(), place / "nano")
    rng = np.random.default_rng(0)
    (place / "corpus").mkdir()
    for i, samples in enumerate((12_000, 3000, 5333)):
        soundfile.write(place / "corpus" / f"{i}.wav", 0.2 * rng.standard_normal(samples), 16000)
    return place


def at_work(folder: Path) -> TeacherAtWork:
    made = TeacherAtWork(load(folder / "nano"), folder / "nano", CPU)
    made.needs = NEEDS
    return made


def one_epoch(folder: Path) -> list[SegmentBatch]:
    """Batches that hold each segment at least once."""
    corpus, seen, found = open_corpus(folder / "corpus"), set(), []
    batches = segment_batches(corpus, DATA, seed=0)
    while len(seen) < len(segments(corpus, DATA)):
        found.append(next(batches))
        seen |= set(found[-1].segments)
    return found


def tensors(targets: Targets) -> list[Tensor]:
    found = [targets.hidden[k] for k in sorted(targets.hidden)]
    found += [x for each in targets.attention.values() for x in each]
    return found + [x for x in (targets.codes, targets.vector) if x is not None]


def test_live_targets_are_the_teachers_frames_by_twos(folder: Path) -> None:
    teacher = at_work(folder)
    audio = 0.2 * torch.randn(2, 8000)
    lengths = torch.tensor([8000, 3000])
    live = teacher.live(audio, lengths)
    assert (set(live.hidden), set(live.attention)) == ({1, 3}, {2})
    assert live.valid.sum(1).tolist() == [12, 5]  # 24 frames of the teacher, and 9: half of a pair is enough
    for clip, (frames, length) in enumerate(((24, 8000), (9, 3000))):
        alone = load(folder / "nano").features(
            audio[clip : clip + 1, :length], lengths[clip : clip + 1], codes=True
        )
        for k in (1, 3):
            hidden = alone.hidden[k][0]
            assert len(hidden) == frames
            pairs = torch.stack([hidden[i : i + 2].mean(0) for i in range(0, frames, 2)])
            torch.testing.assert_close(live.hidden[k][clip, : len(pairs)], pairs, atol=1e-5, rtol=1e-4)
        means = [alone.codes[:, 0, i : i + 2].exp().mean(1).log() for i in range(0, frames, 2)]
        torch.testing.assert_close(
            live.codes[:, clip, : len(means)], torch.stack(means, 1), atol=1e-5, rtol=1e-4
        )
    assert not live.hidden[1].requires_grad
    asked = teacher.live(audio, lengths, Needs(frozenset({2})))
    assert (set(asked.hidden), asked.attention, asked.codes) == ({2}, {}, None)


def test_cached_targets_are_the_live_ones(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    teacher, corpus = at_work(folder), open_corpus(folder / "corpus")
    shape, heard = teacher.shape(32, 2, MAP), []
    assert teacher.remember(corpus, DATA, shape, lambda done, total: heard.append((done, total))) == ()
    assert heard[-1] == (4, 4)
    (cache,) = (tmp_path / "features").iterdir()
    assert cache == teacher.cache.folder
    for batch in one_epoch(folder):
        live, cached = teacher.live(batch.audio, batch.lengths), teacher.targets(batch)
        assert torch.equal(cached.valid, live.valid)
        assert cached.hidden.keys() == live.hidden.keys()
        for ours, theirs in zip(tensors(cached), tensors(live), strict=True):
            torch.testing.assert_close(ours, theirs, **HALF)


def test_a_cache_is_filled_once_and_spares_the_teacher(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    corpus = open_corpus(folder / "corpus")
    first = at_work(folder)
    first.remember(corpus, DATA, first.shape(32, 2, MAP), None)
    again = at_work(folder)
    monkeypatch.setattr(Teacher, "features", None)  # whoever calls it fails
    again.remember(corpus, DATA, again.shape(32, 2, MAP), None)
    (batch, *_) = one_epoch(folder)
    assert torch.equal(again.targets(batch).hidden[3], first.targets(batch).hidden[3])
    with pytest.raises(TypeError):
        at_work(folder).targets(batch)


def test_cached_and_live_give_the_same_loss(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    teacher = at_work(folder)
    torch.manual_seed(0)
    shape = teacher.shape(32, 2, MAP)
    losses = LossesConfig(relations=RelationsConfig(weight=1.0), codes=CodesConfig(weight=1.0))
    module = FrameLosses(losses, shape, ())
    teacher.needs = module.needs()
    batch = one_epoch(folder)[0]
    live = teacher.targets(batch)
    teacher.remember(open_corpus(folder / "corpus"), DATA, shape, None)
    cached = teacher.targets(batch)
    trace = StudentTrace(
        tuple(torch.randn(*live.valid.shape, 32) for _ in range(3)), torch.ones_like(live.valid)
    )
    found, expected = (module(trace, None, None, targets) for targets in (cached, live))
    assert set(found) == {"relations", "codes"}
    for name, loss in expected.items():
        assert found[name].item() == pytest.approx(loss.item(), rel=1e-3)


def test_shape_of_a_pair(folder: Path) -> None:
    assert at_work(folder).shape(32, 2, MAP) == PairShape(32, 2, 32, 3, MAP, 4, 2, 8)


class Vectors:
    """An embedder of whole clips: mean and loudness."""

    name, dim, layers, attention_heads, gives_input, dinosr = "ears", 2, 0, 0, False, None
    hop = first_centre = 0.0

    def to(self, device: torch.device) -> "Vectors":
        return self

    def features(self, audio: Tensor, lengths: Tensor, **asked: object) -> TeacherFrames:
        assert not any(asked.values())
        clips = [clip[:length] for clip, length in zip(audio, lengths.tolist(), strict=True)]
        vector = torch.stack([torch.stack([clip.mean(), clip.square().mean()]) for clip in clips])
        return TeacherFrames(torch.zeros_like(lengths), vector=vector)


def test_a_teacher_of_vectors_has_no_frame_on_the_students_grid(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    teacher = TeacherAtWork(Vectors(), folder / "nano", CPU)
    teacher.needs = Needs(vector=True)
    assert teacher.shape(32, 2, MAP) == PairShape(32, 2, 2, 0, (), teacher_input=False)
    batch = one_epoch(folder)[0]
    live = teacher.live(batch.audio, batch.lengths)
    assert live.valid.shape == (len(batch.lengths), -(-int(batch.lengths.max()) // 640))
    assert not live.valid.any()
    expected = [row[:n].square().mean() for row, n in zip(batch.audio, batch.lengths.tolist(), strict=True)]
    torch.testing.assert_close(live.vector[:, 1], torch.stack(expected))
    teacher.remember(open_corpus(folder / "corpus"), DATA, teacher.shape(32, 2, MAP), None)
    torch.testing.assert_close(teacher.targets(batch).vector, live.vector, **HALF)
    assert not teacher.targets(batch).valid.any()


def test_a_fingerprint_changes_with_the_files(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "nano"
    place.mkdir()
    for file in (folder / "nano").iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    teacher = TeacherAtWork(load(place), place, CPU)
    before = teacher.fingerprint()
    assert before == at_work(folder).fingerprint()
    (place / ".hidden").write_text("of a file manager")
    assert teacher.fingerprint() == before
    for name in ("dinosr.safetensors", "config.json"):
        content = bytearray((place / name).read_bytes())
        content[-1] ^= 1
        (place / name).write_bytes(content)
        assert teacher.fingerprint() != before
        before = teacher.fingerprint()
    (place / "config.json").rename(place / "config.old")
    assert teacher.fingerprint() != before


def test_a_teacher_whose_files_are_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="teacher ears cannot be read from"):
        TeacherAtWork(Vectors(), tmp_path / "gone", CPU).fingerprint()
