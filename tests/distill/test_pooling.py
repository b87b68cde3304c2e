"""Pooling to the student's grid, against frames painted onto samples one by one."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from earkit.distill.front_end import student_frames
from earkit.distill.pooling import pool, pooling_matrix
from earkit.distill.teachers.huggingface import TeacherFrames
from earkit.distill.trace import QueryKeyValue

# hop and first centre: 50 Hz, 12.5 Hz, 100 Hz, 31.25 Hz, and 50 Hz out of step by a quarter of a frame
RATES = [(320, 200), (1280, 640), (160, 200), (512, 256), (320, 280)]
LENGTHS = (16000, 5333, 9000, 1000)


def painted(
    frames: NDArray[np.float64], length: int, hop: int, centre: int
) -> list[NDArray[np.float64] | None]:
    """Mean of the teacher frames (time, dim) over each student frame's samples; None under half covered."""
    rows: list[NDArray[np.float64] | None] = []
    for j in range(-(-length // 640)):
        owners = [(sample - centre + hop // 2) // hop for sample in range(640 * j + 40, 640 * j + 680)]
        heard = [frames[i] for i in owners if 0 <= i < len(frames)]
        rows.append(np.mean(heard, axis=0) if len(heard) >= 320 else None)
    return rows


def teacher_lengths(lengths: tuple[int, ...], hop: int, centre: int) -> Tensor:
    """Frames whose centre is as far from the end as the first is from the beginning."""
    return torch.tensor([max(0, (n - 2 * centre) // hop + 1) for n in lengths])


def noise(lengths: Tensor, *shape: int, seed: int = 0) -> Tensor:
    """(*shape[:-1], batch, time, dim) with zeros behind the shorter clips; shape: leading ones, then dim."""
    generator = torch.Generator().manual_seed(seed)
    time = int(lengths.max())
    x = torch.randn(*shape[:-1], len(lengths), time, shape[-1], generator=generator)
    return x.masked_fill((torch.arange(time) >= lengths.unsqueeze(1)).unsqueeze(-1), 0)


@pytest.mark.parametrize(("hop", "centre"), RATES)
def test_hidden_layers_are_means_over_samples(hop: int, centre: int) -> None:
    counts = teacher_lengths(LENGTHS, hop, centre)
    hidden = noise(counts, 3)
    targets = pool(TeacherFrames(counts, hidden={4: hidden}), torch.tensor(LENGTHS), hop, centre)
    assert targets.hidden[4].shape == (4, 25, 3)
    for i, length in enumerate(LENGTHS):
        rows = painted(hidden[i, : counts[i]].double().numpy(), length, hop, centre)
        rows += [None] * (25 - len(rows))
        assert targets.valid[i].tolist() == [row is not None for row in rows]
        expected = np.array([np.zeros(3) if row is None else row for row in rows])
        np.testing.assert_allclose(targets.hidden[4][i], expected, atol=1e-6)
        matrix = pooling_matrix(int(counts[i]), -(-length // 640), hop, centre)
        np.testing.assert_allclose(matrix @ hidden[i, : counts[i]], expected[: len(matrix)], atol=1e-6)


def test_50_hz_is_the_mean_of_two_neighbours() -> None:
    matrix = pooling_matrix(5, 3, 320, 200)
    half = 0.5
    assert matrix.tolist() == [[half, half, 0, 0, 0], [0, 0, half, half, 0], [0, 0, 0, 0, 1]]
    hidden = noise(torch.tensor([49]), 8)  # 1 s
    pooled = pool(TeacherFrames(torch.tensor([49]), {0: hidden}), torch.tensor([16000]), 320, 200).hidden[0]
    assert torch.equal(pooled[:, :24], (hidden[:, 0:48:2] + hidden[:, 1:48:2]) / 2)
    assert torch.equal(pooled[:, 24], hidden[:, 48])


def test_a_slow_teacher_holds() -> None:
    matrix = pooling_matrix(2, 4, 1280, 680)  # its frames cover samples 40 to 1320 and 1320 to 2600
    assert matrix.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


def test_less_than_half_a_frame_does_not_count() -> None:
    assert pooling_matrix(1, 1, 320, 200).tolist() == [[1]]  # exactly half
    assert pooling_matrix(1, 1, 318, 200).tolist() == [[0]]
    assert pooling_matrix(3, 3, 320, 10_000).tolist() == [[0] * 3] * 3


def test_student_frames_are_begun_ones() -> None:
    assert student_frames(torch.tensor([1, 640, 641, 16000])).tolist() == [1, 1, 2, 25]


def test_pooled_attention_gives_the_mean_raw_score() -> None:
    counts = torch.tensor([20, 13])
    query, key, value = (noise(counts, 2, 4, seed=i).transpose(0, 1) for i in range(3))
    frames = TeacherFrames(counts, attention={3: QueryKeyValue(query, key, value)})
    found = pool(frames, torch.tensor([6480, 4240]), 320, 200).attention[3]
    assert found.value.shape == (2, 2, 11, 4)
    scores = found.query @ found.key.transpose(-1, -2)
    raw = query @ key.transpose(-1, -2)
    for clip, i, j in [(0, 0, 0), (0, 9, 4), (1, 5, 2)]:
        mean = raw[clip, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
        torch.testing.assert_close(scores[clip, :, i, j], mean)
    torch.testing.assert_close(found.value[1, :, 6], value[1, :, 12])  # the last frame has no neighbour
    assert not found.value[1, :, 7:].any()


def test_codes_are_mean_probabilities() -> None:
    counts = torch.tensor([20, 13])
    codes = (3 * noise(counts, 2, 5)).log_softmax(-1)
    codes[0, 0, :2] = torch.tensor([0.0, *[-torch.inf] * 4])  # certain, in both frames of a pair
    codes = codes.masked_fill((torch.arange(20) >= counts.unsqueeze(1)).unsqueeze(-1), 0)
    found = pool(TeacherFrames(counts, codes=codes), torch.tensor([6480, 4240]), 320, 200)
    assert found.codes is not None
    assert found.codes.shape == (2, 2, 11, 5)
    probabilities = codes.exp()
    for codebook, clip, j in [(0, 0, 1), (1, 0, 9), (1, 1, 3)]:
        mean = probabilities[codebook, clip, 2 * j : 2 * j + 2].mean(0)
        torch.testing.assert_close(found.codes[codebook, clip, j].exp(), mean)
    torch.testing.assert_close(found.codes[0, 1, 6], codes[0, 1, 12])
    assert found.codes.isfinite().all()
    assert found.codes[0, 0, 0, 0] == 0
    assert not found.codes[:, ~found.valid].any()


@pytest.mark.parametrize(("hop", "centre"), RATES)
def test_padding_and_company_change_nothing(hop: int, centre: int) -> None:
    counts = teacher_lengths(LENGTHS, hop, centre)
    hidden = noise(counts, 3)
    batch = pool(TeacherFrames(counts, {0: hidden}), torch.tensor(LENGTHS), hop, centre)
    for i, length in enumerate(LENGTHS):
        alone = TeacherFrames(counts[i : i + 1], {0: hidden[i : i + 1, : max(1, counts[i])]})
        lone = pool(alone, torch.tensor([length]), hop, centre)
        time = lone.valid.shape[1]
        assert torch.equal(batch.valid[i, :time], lone.valid[0])
        assert torch.equal(batch.hidden[0][i, :time], lone.hidden[0][0])
        assert not batch.valid[i, time:].any()
        assert not batch.hidden[0][i, time:].any()


def test_frames_behind_the_end_of_a_clip_do_not_count() -> None:
    counts = torch.tensor([8, 8])  # a teacher that goes on behind the first clip
    found = pool(TeacherFrames(counts, {0: noise(counts, 3)}), torch.tensor([600, 2600]), 320, 200)
    assert found.valid.tolist() == [[True, False, False, False, False], [True] * 4 + [False]]
    assert not found.hidden[0][0, 1:].any()


def test_a_teacher_of_vectors_alone_has_no_valid_frame() -> None:
    vector = torch.randn(2, 6)
    found = pool(TeacherFrames(torch.tensor([0, 0]), vector=vector), torch.tensor([1000, 700]), 320, 200)
    assert found.vector is vector
    assert found.valid.tolist() == [[False, False]] * 2


def test_half_precision_is_pooled_in_float32() -> None:
    hidden = noise(torch.tensor([4]), 2).bfloat16()
    pooled = pool(TeacherFrames(torch.tensor([4]), {0: hidden}), torch.tensor([1360]), 320, 200).hidden[0]
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled[0, 0], (hidden[0, 0].float() + hidden[0, 1].float()) / 2)
