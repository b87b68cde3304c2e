"""From a teacher's frame rate to the student's grid of 25 frames a second.

Student frame j stands for the samples from 640 j + 40 up to 640 j + 680: 640 of them around 640 j + 360, the
middle of two frames of a 50 Hz teacher. A teacher's frame stands for `hop` samples around its centre. A
student's frame takes the mean of the teacher's, weighted by how much they overlap: of 50 Hz exactly the mean
of two, of a slower teacher the frame that holds at the time. The mean is linear, so pooled query times pooled
key is the mean of the raw attention scores.
"""

import torch
from torch import Tensor

from earkit.distill.front_end import FRAME, student_frames
from earkit.distill.teachers.huggingface import TeacherFrames
from earkit.distill.trace import QueryKeyValue, Targets

_BEGIN = 40  # sample at which student frame 0 begins
_LEAST_COVERED = 0.5 - 1e-6  # of a student frame that counts; less rounding
_LEAST_PROBABILITY = 1e-8  # so that its logarithm is finite


def pooling_matrix(teacher_frames: int, student_frames: int, hop: float, first_centre: float) -> Tensor:
    """Weights (student_frames, teacher_frames) for one clip: each row sums to 1.

    Rows are zero where the teacher covers less than half of the student's frame. hop: samples from one
    teacher frame to the next; first_centre: the sample in the middle of its first one.
    """
    teacher = torch.arange(teacher_frames).unsqueeze(0)
    student = torch.arange(student_frames).unsqueeze(1)
    shares = _overlap(teacher, student, hop, first_centre)
    return _normalised(shares, shares.sum(1) >= _LEAST_COVERED).float()


def pool(frames: TeacherFrames, lengths: Tensor, hop: float, first_centre: float) -> Targets:
    """Bring what a teacher made of a batch to the student's frames. lengths: (batch,) samples that count.

    A clip's result depends on its own frames alone. Of codes the probabilities are averaged.
    """
    own = student_frames(lengths.to(frames.lengths.device)).unsqueeze(1)  # (batch, 1)
    taps, shares = (x.to(own.device) for x in _taps(int(own.max()), hop, first_centre))  # (time, taps)
    heard = (taps >= 0) & (taps < frames.lengths.view(-1, 1, 1))  # (batch, time, taps)
    shares = shares * heard
    time = torch.arange(len(taps), device=own.device)
    valid = (shares.sum(-1) >= _LEAST_COVERED) & (time < own)  # (batch, time)
    weights = _normalised(shares, valid)  # (batch, time, taps)
    by_head = weights.unsqueeze(1)
    return Targets(
        valid=valid,
        hidden={k: _mean(x, taps, weights) for k, x in frames.hidden.items()},
        attention={
            k: QueryKeyValue(*(_mean(x, taps, by_head) for x in projections))
            for k, projections in frames.attention.items()
        },
        codes=None if frames.codes is None else _mean_codes(frames.codes, taps, weights, valid),
        vector=frames.vector,
    )


def _overlap(teacher: Tensor, student: Tensor, hop: float, first_centre: float) -> Tensor:
    """Share of each student frame that each teacher frame covers; both by number, broadcast together."""
    teacher_begin = first_centre - hop / 2 + hop * teacher.double()
    student_begin = (_BEGIN + FRAME * student).double()
    begin = torch.maximum(teacher_begin, student_begin)
    end = torch.minimum(teacher_begin + hop, student_begin + FRAME)
    return (end - begin).clamp(min=0) / FRAME


def _taps(student_frames: int, hop: float, first_centre: float) -> tuple[Tensor, Tensor]:
    """Teacher frames that overlap each student frame, and by what share: both (student_frames, taps).

    Some may lie before the first or behind the last of a clip.
    """
    student = torch.arange(student_frames).unsqueeze(1)
    begin = _BEGIN + FRAME * student.double()
    first = torch.floor((begin - first_centre) / hop + 0.5).long()
    taps = first + torch.arange(int(FRAME / hop) + 2)
    shares = _overlap(taps, student, hop, first_centre)
    used = shares.any(0)
    return taps[:, used], shares[:, used].float()


def _normalised(shares: Tensor, valid: Tensor) -> Tensor:
    total = shares.sum(-1, keepdim=True).masked_fill(~valid.unsqueeze(-1), torch.inf)
    return shares / total


def _mean(x: Tensor, taps: Tensor, weights: Tensor) -> Tensor:
    """Pool x (…, batch, …, teacher time, dim) with weights (batch, …, time, taps)."""
    taps = taps.clamp(0, x.shape[-2] - 1)  # those outside have no weight
    return sum(
        (weights[..., tap, None] * x[..., taps[:, tap], :] for tap in range(taps.shape[1])),
        start=x.new_zeros((), dtype=torch.float32),
    )


def _mean_codes(codes: Tensor, taps: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
    """Mean probability; codes, its logarithm: (codebooks, batch, teacher time, size)."""
    mean = _mean(codes.float().exp(), taps, weights)
    return mean.clamp(min=_LEAST_PROBABILITY).log().masked_fill(~valid.unsqueeze(-1), 0)
