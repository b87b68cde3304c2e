"""The students: a clip's result is its own, what a frame can hear is what is stated, the cost is linear."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from earkit.distill.student import Convolution, LocalAttention, Pooling, Student, StudentConfig
from earkit.runtime.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

BLOCKS = ("convolution", "attention", "hybrid")
SMALL = StudentConfig(
    size="custom",
    dim=32,
    depth=3,
    heads=2,
    kernel=5,
    kernel_ahead=2,
    attention_back=4,
    attention_ahead=2,
    bands=20,
    embedding_dim=16,
)
LENGTHS = (12_345, 1, 640, 641, 1600, 30_001, 5 * 640, 30_001)


def student(block: str, **changes: object) -> Student:
    """Weights at random, biases and norms too, so that padding could be seen."""
    torch.manual_seed(0)
    made = Student(replace(SMALL, block=block, **changes)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(("bias", "by_distance", "blank")) or "norm" in name:
                parameter.add_(0.5 * torch.randn_like(parameter))
    made.log_mel.mean.fill_(-3)
    made.log_mel.deviation.fill_(2)
    return made


def clips(*lengths: int, behind: float = 0.0, more: int = 0) -> tuple[Tensor, Tensor]:
    """Noise; `behind` its end, and for `more` samples after the longest one, something else."""
    generator = torch.Generator().manual_seed(1)
    audio = torch.full((len(lengths), max(lengths) + more), behind)
    for row, length in zip(audio, lengths, strict=True):
        row[:length] = 0.3 * torch.randn(length, generator=generator)
    return audio, torch.tensor(lengths)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("size", "limit"), [("micro", 1e6), ("tiny", 5e6), ("small", 12e6)])
def test_sizes_keep_their_limits(size: str, limit: float, block: str) -> None:
    model = Student(StudentConfig(size=size, block=block))
    learned = sum(math.prod(x.shape) for x in model.parameters())
    assert 0.45 * limit < learned <= limit
    # 201 cosines and sines of 400 samples, 80 bands of 201, and mean and deviation of each
    assert model.parameters_kept() == learned + 2 * 201 * 400 + 80 * 201 + 2 * 80


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        ({}, (256, 8, 8)),
        ({"size": "micro"}, (160, 5, 5)),
        ({"size": "small", "block": "hybrid"}, (384, 12, 12)),
        ({"size": "small", "block": "attention"}, (384, 9, 12)),
        ({"size": "custom", "dim": 96}, (96, 3, 3)),
        ({"size": "custom", "dim": 96, "depth": 5, "heads": 2}, (96, 5, 2)),
    ],
)
def test_one_dial_derives_the_rest(given: dict, derived: tuple[int, int, int]) -> None:
    config = StudentConfig(**given)
    assert (config.dim, config.depth, config.heads) == derived
    assert replace(config) == config


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", ["small", "micro"])
@torch.no_grad()
def test_a_clip_does_not_depend_on_its_batch_nor_on_what_lies_behind_it(block: str, shape: str) -> None:
    changes = {"dim": 160, "depth": 5, "heads": 5, "attention_back": 32} if shape == "micro" else {}
    model = student(block, **changes)
    audio, lengths = clips(*LENGTHS, behind=7.0, more=5000)
    trace = model(audio, lengths)
    pooled = model.pool(trace.hidden[-1], trace.valid)
    for i, length in enumerate(LENGTHS):
        alone = model(audio[i : i + 1, :length], lengths[i : i + 1])
        frames = -(-length // 640)
        assert trace.valid[i].tolist() == [j < frames for j in range(trace.valid.shape[1])]
        assert alone.valid.all()
        for ours, lone in zip(trace.hidden, alone.hidden, strict=True):
            assert lone.shape[1] == frames
            assert (ours[i, :frames] - lone[0]).abs().max() < 1e-5
            assert not ours[i, frames:].any()
        for k, projections in trace.attention.items():
            for ours, lone in zip(projections, alone.attention[k], strict=True):
                assert (ours[i, :, :frames] - lone[0]).abs().max() < 1e-5
                assert not ours[i, :, frames:].any()
        assert (pooled[i] - model.pool(alone.hidden[-1], alone.valid)[0]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("block", "changes", "ahead", "back"),
    [
        ("convolution", {}, 6, 6),
        ("convolution", {"kernel_ahead": 0}, 0, 12),
        ("attention", {}, 6, 12),
        ("attention", {"attention_ahead": 0}, 0, 12),
        ("hybrid", {}, 3 * 2 + 2 * 2, 3 * 2 + 2 * 4),
        ("hybrid", {"stem": 4, "kernel_ahead": 1}, 3 + 2 * 2, 3 * 3 + 2 * 4),
    ],
)
def test_a_frame_hears_exactly_what_is_stated(block: str, changes: dict, ahead: int, back: int) -> None:
    model = student(block, **changes).double()
    config = model.config
    assert (config.lookahead_frames, config.context_frames) == (ahead, back)
    audio, lengths = (x.double() if x.is_floating_point() else x for x in clips(50 * 640))
    frame = 25
    audio.requires_grad_()
    model(audio, lengths).hidden[-1][0, frame, 3].backward()
    heard = audio.grad[0].nonzero().flatten()
    end = (frame + 1) * 640 + config.lookahead
    # Of a stem of 8 windows, two lie before the frame's four; a window's first sample has the weight 0.
    begin = frame * 640 - 80 - (config.stem - 4) // 2 * 160 - 640 * config.context_frames
    assert (int(heard[0]), int(heard[-1])) == (begin + 1, end - 1)


@pytest.mark.parametrize("block", BLOCKS)
@torch.no_grad()
def test_a_frame_is_final_once_its_lookahead_is_there(block: str) -> None:
    model = student(block).double()
    audio, lengths = clips(40 * 640)
    audio = audio.double()
    expected = model(audio, lengths).hidden[-1][0, : 20 + 1]
    end = (20 + 1) * 640 + model.config.lookahead
    cut = model(audio[:, :end], torch.tensor([end])).hidden[-1][0, : 20 + 1]
    assert (cut - expected).abs().max() < 1e-12
    changed = audio.clone()
    changed[:, end:] = 0.9
    assert (model(changed, lengths).hidden[-1][0, : 20 + 1] - expected).abs().max() < 1e-12
    changed[:, end - 200 : end] = 0.9
    assert (model(changed, lengths).hidden[-1][0, 20] - expected[20]).abs().max() > 1e-9


@pytest.mark.parametrize("times", [(1,), (3, 2), (4, 1), (5, 4), (11, 7), (12, 9)])
@pytest.mark.parametrize(("back", "ahead"), [(4, 2), (4, 4), (3, 0), (1, 1)])
@torch.no_grad()
def test_local_attention_against_every_pair(times: tuple[int, ...], back: int, ahead: int) -> None:
    torch.manual_seed(0)
    heads, size = 3, 4
    layer = LocalAttention(heads * size, heads, back, ahead).double()
    torch.nn.init.normal_(layer.by_distance)
    torch.nn.init.normal_(layer.query_key_value.bias)
    x = torch.randn(len(times), max(times), heads * size, dtype=torch.float64)
    valid = (torch.arange(max(times)) < torch.tensor(times)[:, None]).double()[:, :, None]
    attended, projections = layer(x, valid)
    weight, bias = layer.query_key_value.weight.numpy(), layer.query_key_value.bias.numpy()
    for clip, time in enumerate(times):
        projected = layer.norm(x[clip, :time]).numpy() @ weight.T + bias
        query, key, value = projected.reshape(time, 3, heads, size).transpose(1, 2, 0, 3)
        for made, expected in zip(projections, (query, key, value), strict=True):
            np.testing.assert_allclose(made[clip, :, :time], expected, atol=1e-12)
        mixed = np.zeros((time, heads, size))
        for head in range(heads):
            for i in range(time):
                near = [j for j in range(time) if -back <= j - i <= ahead]
                bias_of = [float(layer.by_distance[head, j - i + back]) for j in near]
                scores = np.exp(query[head, i] @ key[head, near].T / math.sqrt(size) + bias_of)
                mixed[i, head] = scores / scores.sum() @ value[head, near]
        expected = mixed.reshape(time, -1) @ layer.out.weight.numpy().T + layer.out.bias.numpy()
        np.testing.assert_allclose(attended[clip, :time], expected, atol=1e-10)


@torch.no_grad()
def test_masked_frames_are_blank_before_the_first_block() -> None:
    model = student("convolution")
    audio, lengths = clips(8000, 3000)
    masked = torch.zeros(2, 13, dtype=torch.bool)
    masked[0, 3:6] = masked[1, 2:9] = True
    plain, blind = (model(audio, lengths, mask) for mask in (None, masked))
    there = masked & plain.valid
    assert torch.equal(blind.hidden[0][there], model.blank.expand(int(there.sum()), -1))
    assert torch.equal(blind.hidden[0][~there], plain.hidden[0][~there])
    assert not blind.hidden[-1][~plain.valid].any()
    audio[0, 640 * 4 + 40 : 640 * 4 + 680] = 0  # no window of frames beyond 3 to 5 hears this
    again = model(audio, lengths, masked)
    torch.testing.assert_close(again.hidden[-1], blind.hidden[-1])


@pytest.mark.parametrize("block", BLOCKS)
@torch.no_grad()
def test_a_prefix_of_the_blocks_is_the_run_up_to_there(block: str) -> None:
    model = student(block)
    audio, lengths = clips(9000, 2000)
    whole = model(audio, lengths)
    assert [k in whole.attention for k in (1, 2, 3)] == [model.config.attends(k) for k in (1, 2, 3)]
    assert len(whole.hidden) == 4
    for depth in (1, 2, 3):
        prefix = model(audio, lengths, depth=depth)
        assert len(prefix.hidden) == depth + 1
        assert all(map(torch.equal, prefix.hidden, whole.hidden[: depth + 1]))
        assert set(prefix.attention) == {k for k in whole.attention if k <= depth}


def test_a_hybrid_attends_in_the_middle_and_at_the_end() -> None:
    config = StudentConfig(block="hybrid")
    assert [k for k in range(1, 9) if config.attends(k)] == [4, 8]


@torch.no_grad()
def test_blocks_of_their_own_widths() -> None:
    model = student("hybrid", inner_dims=(8, 24, 5), block_heads=(1, 0, 2))
    assert [block.feed_forward.rise.out_features for block in model.blocks] == [8, 24, 5]
    assert [block.attention and block.attention.heads for block in model.blocks] == [1, None, 2]
    assert [model.config.attends(k) for k in (1, 2, 3)] == [True, False, True]
    trace = model(*clips(5000, 700))
    assert {k: own.query.shape[1::2] for k, own in trace.attention.items()} == {1: (1, 16), 3: (2, 16)}
    assert trace.hidden[-1].shape[2] == SMALL.dim


def test_hidden_states_are_normalised_for_those_who_leave_there() -> None:
    model = Student(SMALL)
    trace = model(*clips(9000, 2000))
    for hidden in trace.hidden[1:]:
        frames = hidden[trace.valid]
        torch.testing.assert_close(frames.mean(1), torch.zeros(len(frames)), atol=1e-5, rtol=0)
        torch.testing.assert_close(frames.std(1, correction=0), torch.ones(len(frames)), atol=1e-2, rtol=0)


@torch.no_grad()
def test_pooling_against_loops() -> None:
    """Softmax over frames of a score less sharpness times the way to a head's place; 0 to 1 over the clip."""
    torch.manual_seed(0)
    pooling = Pooling(6, 3, 4).double()
    pooling.place.add_(0.1 * torch.randn(3))
    frames = torch.randn(2, 9, 6, dtype=torch.float64)
    counted = torch.ones(2, 9, 1, dtype=torch.float64)
    counted[1, 5:] = 0
    made = pooling(frames, counted)
    first, last = pooling.score[0], pooling.score[2]
    for clip, time in enumerate((9, 5)):
        x = frames[clip, :time].numpy()
        content = np.tanh(x @ first.weight.numpy().T + first.bias.numpy()) @ last.weight.numpy().T
        places = (np.arange(time)[:, None] + 0.5) / time
        away = np.abs(places - pooling.place.numpy())
        weights = np.exp(content + last.bias.numpy() - pooling.sharpness.numpy() * away)
        weights /= weights.sum(0)  # (time, heads)
        overall = weights.mean(1)
        deviation = np.sqrt(overall @ (x - overall @ x) ** 2)
        statistics = np.concatenate([*(weights.T @ x), deviation])
        expected = pooling.project.weight.numpy() @ statistics + pooling.project.bias.numpy()
        np.testing.assert_allclose(made[clip], expected, atol=1e-10)


@torch.no_grad()
def test_an_embedding_knows_the_order_of_its_frames() -> None:
    torch.manual_seed(0)
    pooling = Pooling(6, 4, 4)
    frames, counted = torch.randn(1, 9, 6), torch.ones(1, 9, 1)
    assert (pooling(frames, counted) - pooling(frames.flip(1), counted)).abs().max() > 0.05


@pytest.mark.parametrize("count", [1, 3, 8])
@torch.no_grad()
def test_cuts_are_embedded_each_by_itself_and_in_their_order(count: int) -> None:
    model = student("convolution")
    audio, lengths = clips(*LENGTHS[:count])
    made = model.embed_cuts(audio, lengths)
    for own, clip, length in zip(made, audio, lengths, strict=True):
        trace = model(clip[None, :length], length[None])
        torch.testing.assert_close(own, model.pool(trace.hidden[-1], trace.valid)[0], atol=1e-5, rtol=1e-5)


def test_a_convolution_in_training_is_the_one_that_is_exported() -> None:
    torch.manual_seed(0)
    convolution = Convolution(dim=6, kernel=5, ahead=1).double()
    valid = torch.ones(2, 9, 1, dtype=torch.float64)
    valid[1, 6:] = 0
    x = torch.randn(2, 9, 6, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(2, 9, 6, dtype=torch.float64)
    outcomes = []
    for module in (convolution.train(), convolution.eval()):
        made = module(x, valid)
        gradients = torch.autograd.grad((made * wanted).sum(), [x, *module.parameters()])
        outcomes.append((made, *gradients))
    for trained, exported in zip(*outcomes, strict=True):
        torch.testing.assert_close(trained, exported, atol=1e-12, rtol=1e-12)
    assert outcomes[0][0].detach().std() > 0.1


@pytest.mark.parametrize("block", BLOCKS)
def test_twice_the_audio_costs_twice_as_much(block: str) -> None:
    model = Student(StudentConfig(size="micro", block=block))
    costs = []
    for seconds in (10, 20):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            trace = model(torch.zeros(1, 16000 * seconds), torch.tensor([16000 * seconds]))
            model.pool(trace.hidden[-1], trace.valid)
        costs.append(counter.get_total_flops())
    assert costs[1] / costs[0] == pytest.approx(2, rel=0.02)


def test_everything_learns() -> None:
    model = student("hybrid")
    audio, lengths = clips(9000, 2000)
    masked = torch.zeros(2, 15, dtype=torch.bool)
    masked[0, 3] = True
    trace = model(audio, lengths, masked)
    (sum(x.square().sum() for x in trace.hidden) + model.pool(trace.hidden[-1], trace.valid).sum()).backward()
    idle = {name for name, parameter in model.named_parameters() if not parameter.grad.any()}
    assert idle <= {"pooling.score.2.bias"}  # a softmax does not see it


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": "tiny", "dim": 128}, "a tiny student has dim 256, not 128"),
        ({"size": "custom"}, "needs student.dim"),
        ({"size": "custom", "dim": 31}, "needs student.dim, 32 or more"),
        ({"size": "custom", "dim": 100, "depth": 2, "heads": 3}, "multiple of student.heads 3"),
        ({"expansion": -1}, "no size in it is 0"),
        ({"embedding_dim": 0}, "no size in it is 0"),
        ({"kernel": 5, "kernel_ahead": 5}, "student.kernel_ahead is 5"),
        ({"kernel_ahead": -1}, "student.kernel_ahead is -1"),
        ({"attention_back": 4, "attention_ahead": 5}, "student.attention_ahead is from 0"),
        ({"attention_back": 0, "attention_ahead": 0}, "student.attention_ahead is from 0"),
        ({"stem": 2}, "student.stem is 2"),
        ({"stem": 7}, "student.stem is 7"),
        ({"inner_dims": (8, 8)}, "one number, 1 or more, for each of the 8 blocks"),
        ({"depth": 3, "inner_dims": (8, 0, 8)}, "student.inner_dims has 8, 0, 8"),
        (
            {"block": "attention", "depth": 3, "block_heads": (1, 0, 2)},
            "student.block_heads has 1, 0, 2: give one number, 1",
        ),
        ({"depth": 3, "block_heads": (1, 0, 2)}, "block_heads is for blocks of attention or hybrid"),
    ],
)
def test_shapes_that_mean_nothing_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        StudentConfig(**wrong)
