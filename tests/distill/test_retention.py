"""Retention: the probe against least squares, who is held out, and that it tells a copy from noise."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from earkit.distill.data.corpus import Clip, Corpus, open_corpus
from earkit.distill.data.segments import SegmentConfig, segments, segments_once
from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.front_end import LogMel, student_frames
from earkit.distill.retention import RIDGE, Retention, hold_out, ridge_accuracy
from earkit.distill.speech.synthetic_corpus import parse_spans
from earkit.distill.student import StudentConfig
from earkit.distill.trace import Needs, StudentTrace, Targets

DATA = SegmentConfig(max_seconds=1.0, min_seconds=0.2, batch_seconds=4, workers=0)
PITCHES = {"a": 300, "b": 1000, "c": 3000}


def write(folder: Path, seed: int, clips: int, *, labelled: bool = True) -> Corpus:
    """Tones of 0.1 s, the phones; words are three of one kind; clips of 1.5 s, so two segments each."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("path", "phones", "words"))
        for i in range(clips):
            sounds = rng.choice([*PITCHES], 5).repeat(3)
            time = np.arange(1600) / 16000
            tones = [0.3 * np.sin(2 * np.pi * PITCHES[s] * time) for s in sounds]
            audio = np.concatenate(tones) + 0.01 * rng.standard_normal(24_000)
            soundfile.write(folder / f"{i}.wav", audio, 16000)
            phones = " ".join(f"{s}:{1600 * n}:{1600 * n + 1600}" for n, s in enumerate(sounds))
            words = " ".join(f"{sounds[n]}x:{1600 * n}:{1600 * n + 4800}" for n in range(0, 15, 3))
            rows.writerow((f"{i}.wav", phones, words) if labelled else (f"{i}.wav", "", ""))
    return open_corpus(folder)


class Listener:
    """Noise in layer 1, and in layer 2 log-mel of each frame if it listens, else noise too."""

    def __init__(self, *, listens: bool = True) -> None:
        self.layers, self.listens = 2, listens
        self.blank = torch.zeros(1)
        self.generator = torch.Generator().manual_seed(0)

    def hidden(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        heard = LogMel(20)(audio).unflatten(2, (-1, 4)).mean(3).transpose(1, 2)  # (batch, time, 20)
        noise = [torch.randn(heard.shape, generator=self.generator) for _ in range(2)]
        valid = torch.arange(heard.shape[1]) < student_frames(lengths)[:, None]
        return valid, [noise[0], heard if self.listens else noise[1]]

    def __call__(self, audio: Tensor, lengths: Tensor) -> StudentTrace:
        valid, (one, two) = self.hidden(audio, lengths)
        return StudentTrace((one, one, two), valid)

    def teaches(self) -> SimpleNamespace:
        """A teacher, who gives nothing for the last frame of a segment."""

        def live(audio: Tensor, lengths: Tensor, needs: Needs) -> Targets:
            valid, hidden = self.hidden(audio, lengths)
            valid = torch.arange(valid.shape[1]) < student_frames(lengths)[:, None] - 1
            return Targets(valid, {k: hidden[k - 1] for k in needs.hidden})

        return SimpleNamespace(teacher=self, live=live)


def student(*, listens: bool) -> SimpleNamespace:
    return SimpleNamespace(student=Listener(listens=listens), token_head=None)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Corpus]:
    folder = tmp_path_factory.mktemp("corpora")
    return write(folder / "train", 0, 8), write(folder / "held", 1, 4)


@pytest.fixture(scope="module")
def probes(corpora: tuple[Corpus, Corpus]) -> Retention:
    made = Retention.prepare(*corpora, DATA, [Listener().teaches()])
    assert made is not None
    return made


def test_a_copy_keeps_everything_and_noise_does_not(probes: Retention) -> None:
    assert probes.teacher_scores["phones"] > 0.9
    assert probes.teacher_scores["words"] > 0.7
    assert probes.measure(student(listens=True)) == {"phones": 1.0, "words": 1.0}
    deaf = probes.measure(student(listens=False))
    assert set(deaf) == {"phones", "words"}
    assert max(deaf.values()) < 0.7


def test_without_labels_the_teachers_own_clusters_are_asked_for(tmp_path: Path) -> None:
    corpora = write(tmp_path / "train", 0, 8, labelled=False), write(tmp_path / "held", 1, 4, labelled=False)
    probes = Retention.prepare(*corpora, DATA, [Listener().teaches()])
    assert probes is not None
    assert set(probes.teacher_scores) == {"clusters"}
    found = torch.tensor([n for row in probes.probes.labels["clusters"][0] for *_, n in row])
    assert len(found.unique()) == 48
    assert probes.measure(student(listens=True)) == {"clusters": 1.0}
    assert probes.measure(student(listens=False))["clusters"] < 0.4


def test_labels_stand_where_the_middle_of_a_frame_is(
    probes: Retention, corpora: tuple[Corpus, Corpus]
) -> None:
    """Sample by sample; the last frame of each segment, which the teacher lacks, has no label."""
    names: dict[str, dict[int, str]] = {"phones": {}, "words": {}}
    for side, corpus in enumerate(corpora):
        cut = segments(corpus, DATA)
        order = [s for batch in segments_once(corpus, DATA, range(len(cut))) for s in batch.segments]
        for task, known in names.items():
            rows = probes.probes.labels[task][side]
            assert len(rows) == len(cut) == 2 * len(corpus.clips)
            for row, number in zip(rows, order, strict=True):
                clip, start, samples = cut[number]
                spans = parse_spans(corpus.clips[clip].labels[task])
                by_frame = {frame: n for first, end, n in row for frame in range(first, end)}
                if task == "phones":
                    assert all(end == first + 1 for first, end, _ in row)
                frames = -(-samples // 640) - 1
                assert set(by_frame) == set(range(frames))
                for frame, n in by_frame.items():
                    middle = start + 640 * frame + 360
                    (label,) = (span.label for span in spans if span.start <= middle < span.end)
                    assert known.setdefault(n, label) == label
    assert sorted(names["phones"].values()) == ["a", "b", "c"]
    assert sorted(names["words"].values()) == ["ax", "bx", "cx"]


def test_no_teacher_with_frames_no_probes(corpora: tuple[Corpus, Corpus]) -> None:
    embedder = SimpleNamespace(teacher=SimpleNamespace(layers=0))
    assert Retention.prepare(*corpora, DATA, [embedder]) is None
    assert Retention.prepare(*corpora, DATA, []) is None
    assert Retention.prepare(*corpora, DATA, [embedder, Listener().teaches()]) is not None


@torch.no_grad()
def test_tokens_are_compared_under_noise(probes: Retention) -> None:
    torch.manual_seed(0)
    config = StudentConfig(size="custom", dim=32, depth=1, bands=20, embedding_dim=16)
    model = DistilledStudent(config, Outputs(codebooks=2, codebook_size=16)).eval()
    drift = probes.measure(model)["unit_edit_distance"]
    assert drift > 0.05
    assert probes.measure(model)["unit_edit_distance"] == drift
    model.token_head.bias[16 + 3] = 100  # of the last codebook, the same token everywhere
    assert probes.measure(model)["unit_edit_distance"] == 0


def test_ridge_is_least_squares_with_a_penalty() -> None:
    """The penalty as more rows of the problem, which NumPy solves by singular values."""
    rng = np.random.default_rng(0)
    classes, places = rng.integers(0, 4, 360), 0.8 * rng.standard_normal((4, 6))
    rows = places[classes] + rng.standard_normal((360, 6)) * [1, 5, 0.1, 1, 1, 30] + 7
    x, u, y, v = rows[:60], rows[60:], classes[:60], classes[60:]
    mean, deviation = x.mean(0), x.std(0, ddof=1)
    seen = np.concatenate([(x - mean) / deviation, np.sqrt(RIDGE * 60) * np.eye(6)])
    shares = np.eye(4)[y].mean(0)
    weights = np.linalg.lstsq(seen, np.concatenate([np.eye(4)[y] - shares, np.zeros((6, 4))]), rcond=None)[0]
    expected = np.mean(((u - mean) / deviation @ weights + shares).argmax(1) == v)
    assert 0.3 < expected < 0.95
    tensors = (
        torch.from_numpy(x).float(),
        torch.from_numpy(y),
        torch.from_numpy(u).float(),
        torch.from_numpy(v),
    )
    assert ridge_accuracy(*tensors) == pytest.approx(expected, abs=1e-9)


def test_a_class_that_training_lacks_is_wrong() -> None:
    x, y = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1])
    assert (
        ridge_accuracy(x, y, torch.tensor([[0.0], [1.0], [2.0], [-1.0]]), torch.tensor([0, 1, 2, 3])) == 0.5
    )


def corpus_of(*speakers: str | None) -> Corpus:
    labels = [{} if speaker is None else {"speaker": speaker} for speaker in speakers]
    return Corpus(tuple(Clip(f"{i}", f"/{i}.wav", 16000, 16000, labels=x) for i, x in enumerate(labels)))


def numbers(corpus: Corpus) -> list[int]:
    return [int(clip.name) for clip in corpus.clips]


def test_whole_speakers_are_held_out() -> None:
    corpus = corpus_of(*(f"s{i % 40:02}" for i in range(200)))
    kept, held = hold_out(corpus)
    assert {clip.labels["speaker"] for clip in held.clips} == {"s00", "s20"}
    assert not {clip.labels["speaker"] for clip in kept.clips} & {"s00", "s20"}
    assert sorted(numbers(kept) + numbers(held)) == list(range(200))
    assert numbers(kept) == sorted(numbers(kept))


def test_of_few_speakers_one_is_held_out() -> None:
    assert numbers(hold_out(corpus_of("d", "b", "c", "b", "e"))[1]) == [1, 3]


def test_clips_of_nobody_known_are_trained_on() -> None:
    kept, held = hold_out(corpus_of(None, "d", None, "b", "c", "e", None))
    assert numbers(held) == [3]
    assert numbers(kept) == [0, 1, 2, 4, 5, 6]


def test_without_speakers_every_twentieth_clip_is_held_out() -> None:
    assert numbers(hold_out(corpus_of(*[None] * 45))[1]) == [0, 20, 40]
    assert numbers(hold_out(corpus_of(*"abc" * 15))[1]) == [0, 20, 40]
    assert numbers(hold_out(corpus_of(*[None] * 39))[1]) == []  # too few to spare any
