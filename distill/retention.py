"""How much of the teacher a student has kept: linear probes of both on speakers that neither loop trains on.

A probe is a ridge regression onto one-hot labels, solved at once, so that it can be measured during training.
Labels are phones and words where the manifest has them as spans (`label:start:end` in samples), and else the
clusters into which the teacher's own frames fall: the probe then asks whether the student can tell apart what
the teacher tells apart. Of each network the layer counts that scores best.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from earkit.distill.data.augment import AugmentConfig, augment
from earkit.distill.data.corpus import Clip, Corpus
from earkit.distill.data.segments import SegmentBatch, SegmentConfig, segments, segments_once
from earkit.distill.distilled import DistilledStudent
from earkit.distill.front_end import CENTRE, FRAME
from earkit.distill.speech.synthetic_corpus import parse_spans
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.trace import Needs
from earkit.distill.unit_edit_distance import unit_edit_distance

SHARE = 0.05
"""Of the speakers, or else of the clips, that is held out."""
MOST = 120
"""Segments of either part that are probed."""
CLUSTERS = 48
RIDGE = 1e-2
DISTURBED = AugmentConfig(room=0.5, noise=1.0, noise_snr=(5.0, 20.0), telephone=0.2, gain=0.5)
"""What tokens have to withstand."""


def hold_out(corpus: Corpus) -> tuple[Corpus, Corpus]:
    """Part a corpus into what is trained on and what is measured on: whole speakers where they are known."""
    speakers = sorted({clip.labels.get("speaker", "") for clip in corpus.clips} - {""})
    if len(speakers) >= 4:
        held = set(speakers[:: round(1 / SHARE)] if len(speakers) > 1 / SHARE else speakers[:1])
        chosen = [clip.labels.get("speaker", "") in held for clip in corpus.clips]
    else:
        every = round(1 / SHARE)
        chosen = [len(corpus.clips) >= 2 * every and i % every == 0 for i in range(len(corpus.clips))]
    kept = tuple(clip for clip, out in zip(corpus.clips, chosen, strict=True) if not out)
    aside = tuple(clip for clip, out in zip(corpus.clips, chosen, strict=True) if out)
    return Corpus(kept, corpus.skipped, corpus.source), Corpus(aside, (), corpus.source)


Features = Mapping[int, Sequence[Tensor]]
"""By layer, (frames, dim) of each segment."""


@dataclass(frozen=True)
class Part:
    """Segments of one part of a corpus, and what a network makes of them."""

    clips: list[Clip]
    """From which each segment is cut."""
    starts: list[int]
    features: Features


class Probes:
    """Linear probes of frames, trained on segments of one part and scored on those of the other.

    Labels are those that the clips have; without any, clusters of the features of the last layer.
    """

    def __init__(self, train: Part, held: Part) -> None:
        self.labels = _labels(train, held)

    def scores(self, train: Features, held: Features) -> dict[str, float]:
        """Accuracy by task, of the layer that scores best."""
        return {task: max(self._score(task, train[k], held[k]) for k in train) for task in self.labels}

    def _score(self, task: str, train: Sequence[Tensor], held: Sequence[Tensor]) -> float:
        (x, y), (u, v) = (
            _examples(features, labels)
            for features, labels in zip((train, held), self.labels[task], strict=True)
        )
        return ridge_accuracy(x, y, u, v)


class Retention:
    """Probes of one teacher, computed once, against those of a student as often as asked."""

    def __init__(self, train: "_Taught", held: "_Taught") -> None:
        self.train, self.held = train.batches, held.batches
        self.probes = Probes(train.part, held.part)
        self.teacher_scores = self.probes.scores(train.part.features, held.part.features)

    @classmethod
    def prepare(
        cls, training: Corpus, held: Corpus, data: SegmentConfig, teachers: Sequence[TeacherAtWork]
    ) -> "Retention | None":
        """Run the first teacher that has frames over some of both parts; without any, no probes."""
        teacher = next((each for each in teachers if each.teacher.layers), None)
        if teacher is None or not all(segments(corpus, data) for corpus in (training, held)):
            return None
        return cls(*(_taught(corpus, data, teacher) for corpus in (training, held)))

    def kept(self, train: Features, held: Features) -> dict[str, float]:
        """Score of another network over the teacher's by task, from what it makes of the same segments."""
        scores = self.probes.scores(train, held)
        return {
            task: round(score / max(self.teacher_scores[task], 1e-9), 4) for task, score in scores.items()
        }

    def measure(self, model: DistilledStudent) -> dict[str, float]:
        """Student's score over the teacher's by task; with tokens, their unit edit distance under noise."""
        found = self.kept(_layers(model, self.train), _layers(model, self.held))
        if model.token_head is not None:
            found["unit_edit_distance"] = round(_token_drift(model, self.held), 4)
        return found


def ridge_accuracy(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> float:
    """Accuracy on (u, v) of ridge regression from x (n, dim) onto one-hot labels y (n,)."""
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    x, u = ((a - mean) / deviation for a in (x.double(), u.double()))
    onehot = torch.nn.functional.one_hot(y, int(max(y.max(), v.max())) + 1).double()
    share = onehot.mean(0)
    gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, x.T @ (onehot - share))
    return float(((u @ weights + share).argmax(1) == v).double().mean())


def some_segments(corpus: Corpus, data: SegmentConfig, most: int = MOST) -> list[SegmentBatch]:
    """Read so many segments, evenly over the corpus."""
    wanted = np.unique(np.linspace(0, len(segments(corpus, data)) - 1, most).astype(int)).tolist()
    return [batch for batch in segments_once(corpus, data, wanted) if batch.segments]


@dataclass(frozen=True)
class _Taught:
    """A part by its teacher's features, and its audio."""

    part: Part
    batches: list[SegmentBatch]


def _taught(corpus: Corpus, data: SegmentConfig, teacher: TeacherAtWork) -> _Taught:
    batches = some_segments(corpus, data)
    cut = segments(corpus, data)
    order = [cut[segment] for batch in batches for segment in batch.segments]
    clips, starts = [corpus.clips[s.clip] for s in order], [s.start for s in order]
    return _Taught(Part(clips, starts, layers_of(teacher, batches)), batches)


def layers_of(teacher: TeacherAtWork, batches: Sequence[SegmentBatch]) -> Features:
    """Run a teacher: frames of all its layers, on the grid of students."""
    layers = range(1, teacher.teacher.layers + 1)
    features: dict[int, list[Tensor]] = {k: [] for k in layers}
    for batch in batches:
        targets = teacher.live(batch.audio, batch.lengths, Needs(frozenset(layers)))
        for k in layers:
            features[k] += [x[there].cpu() for x, there in zip(targets.hidden[k], targets.valid, strict=True)]
    return features


@torch.no_grad()
def _layers(model: DistilledStudent, batches: Sequence[SegmentBatch]) -> dict[int, list[Tensor]]:
    """Frames of every block by segment."""
    found: dict[int, list[Tensor]] = {}
    device = model.student.blank.device
    for batch in batches:
        trace = model.student(batch.audio.to(device), batch.lengths.to(device))
        for k, hidden in enumerate(trace.hidden[1:], start=1):
            rows = zip(hidden, trace.valid, strict=True)
            found.setdefault(k, []).extend(x[there].cpu() for x, there in rows)
    return found


_Labels = list[list[tuple[int, int, int]]]
"""For each segment: first frame, end, class."""


def _labels(train: Part, held: Part) -> dict[str, tuple[_Labels, _Labels]]:
    parts = (train, held)
    tasks = [task for task in ("phones", "words") if all(task in c.labels for p in parts for c in p.clips)]
    found = {task: _from_spans(task, parts) for task in tasks}
    told = {task: both for task, both in found.items() if all(any(rows) for rows in both)}
    return told or {"clusters": _from_clusters(parts)}


def _from_spans(task: str, parts: Sequence[Part]) -> tuple[_Labels, _Labels]:
    """Phones label each frame by its centre; a word is one example, the mean of its frames."""
    numbers: dict[str, int] = {}
    found = []
    for part in parts:
        rows: _Labels = []
        for clip, start, frames in zip(part.clips, part.starts, _lengths(part), strict=True):
            row = []
            for span in parse_spans(clip.labels[task]):
                first = max(0, -(-(span.start - start - CENTRE) // FRAME))
                end = min(frames, -(-(span.end - start - CENTRE) // FRAME))
                if first < end:
                    number = numbers.setdefault(span.label, len(numbers))
                    row += (
                        [(first, end, number)]
                        if task == "words"
                        else [(f, f + 1, number) for f in range(first, end)]
                    )
            rows.append(row)
        found.append(rows)
    return found[0], found[1]


def _from_clusters(parts: Sequence[Part]) -> tuple[_Labels, _Labels]:
    """k-means of the teacher's last layer, ten rounds from evenly spaced frames."""
    last = max(parts[0].features)
    frames = torch.cat(list(parts[0].features[last]))
    centres = frames[torch.linspace(0, len(frames) - 1, min(CLUSTERS, len(frames))).long()]
    for _ in range(10):
        nearest = torch.cdist(frames, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, frames)
        counts = torch.bincount(nearest, minlength=len(centres))[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    found = []
    for part in parts:
        numbers = (torch.cdist(x, centres).argmin(1).tolist() for x in part.features[last])
        found.append([[(f, f + 1, n) for f, n in enumerate(row)] for row in numbers])
    return found[0], found[1]


def _lengths(part: Part) -> Iterator[int]:
    """Frames of each segment; of a teacher's, a student has as many, or one more."""
    return (len(x) for x in next(iter(part.features.values())))


def _examples(features: Sequence[Tensor], labels: _Labels) -> tuple[Tensor, Tensor]:
    rows = [
        (x[first:end].mean(0), number)
        for x, row in zip(features, labels, strict=True)
        for first, end, number in row
    ]
    return torch.stack([x for x, _ in rows]), torch.tensor([number for _, number in rows])


@torch.no_grad()
def _token_drift(model: DistilledStudent, batches: Sequence[SegmentBatch]) -> float:
    """Compare the tokens of clean with those of disturbed segments: unit edit distance."""
    sequences: Mapping[bool, list[np.ndarray]] = {False: [], True: []}
    for number, batch in enumerate(batches):
        for disturbed, found in sequences.items():
            audio = _disturb(batch, number) if disturbed else batch.audio
            device = model.student.blank.device
            frames, valid = model.frames(audio.to(device), batch.lengths.to(device))
            tokens = model.tokens(frames)[-1]
            found += [row[there].cpu().numpy() for row, there in zip(tokens, valid, strict=True)]
    return unit_edit_distance(sequences[False], sequences[True])


def _disturb(batch: SegmentBatch, number: int) -> Tensor:
    audio = torch.zeros_like(batch.audio)
    for i, (row, length) in enumerate(zip(batch.audio, batch.lengths.tolist(), strict=True)):
        rng = np.random.default_rng([number, i])
        audio[i, :length] = torch.from_numpy(augment(row[:length].numpy(), rng, DISTURBED))
    return audio
