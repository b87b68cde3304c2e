"""Cutting: what is left computes what the whole network does with the same weights at zero."""

import copy
import dataclasses

import pytest
import torch
import torch_pruning as tp
from torch import Tensor

from earkit.compress.prune_groups import KeptBlock, cut, student_groups
from earkit.distill.student import Block, Student, StudentConfig

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = StudentConfig(
    size="custom",
    dim=32,
    depth=3,
    heads=4,
    kernel=5,
    kernel_ahead=2,
    attention_back=4,
    attention_ahead=2,
    bands=20,
    embedding_dim=16,
)


def student(block: Block) -> Student:
    """No parameter has its first value."""
    torch.manual_seed(0)
    made = Student(dataclasses.replace(SMALL, block=block)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def clips() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 0.3 * torch.randn(2, 9000), torch.tensor([9000, 5000])


def whole(made: Student) -> list[KeptBlock]:
    config = made.config
    return [
        KeptBlock(
            k,
            torch.arange(config.inner_dim(k + 1)),
            torch.arange(n) if (n := config.heads_of(k + 1)) else None,
        )
        for k in range(config.depth)
    ]


def same(one: Student, other: Student) -> bool:
    with torch.no_grad():
        traces = [each(*clips()) for each in (one, other)]
        frames = [trace.hidden[-1] for trace in traces]
        pooled = [
            each.pool(trace.hidden[-1], trace.valid) for each, trace in zip((one, other), traces, strict=True)
        ]
    return torch.allclose(*frames, atol=1e-5) and torch.allclose(*pooled, atol=1e-5)


@pytest.mark.parametrize("block", ["convolution", "attention", "hybrid"])
def test_nothing_cut_is_the_same_network(block: Block) -> None:
    made = student(block)
    left = cut(made, student_groups(made), tuple(whole(made)))
    assert all(
        torch.equal(a, b) for a, b in zip(made.state_dict().values(), left.state_dict().values(), strict=True)
    )
    assert left.config.lookahead == made.config.lookahead


@pytest.mark.parametrize("block", ["convolution", "attention", "hybrid"])
def test_channels_that_go_are_those_that_were_silenced(block: Block) -> None:
    made = student(block)
    kept = whole(made)
    kept[1] = dataclasses.replace(kept[1], inner=torch.tensor([0, 3, 17, 63]))
    left = cut(made, student_groups(made), tuple(kept))
    assert left.config.inner_dims == (64, 4, 64)
    silenced = copy.deepcopy(made)
    gone = [i for i in range(64) if i not in {0, 3, 17, 63}]
    with torch.no_grad():
        silenced.blocks[1].feed_forward.fall.weight[:, gone] = 0
    assert same(left, silenced)
    assert not same(left, made)


@pytest.mark.parametrize("block", ["attention", "hybrid"])
def test_heads_that_go_are_those_that_were_silenced(block: Block) -> None:
    made = student(block)
    kept = whole(made)
    kept[2] = dataclasses.replace(kept[2], heads=torch.tensor([1, 3]))
    left = cut(made, student_groups(made), tuple(kept))
    assert left.config.block_heads == ((4, 4, 2) if block == "attention" else (0, 4, 2))
    silenced = copy.deepcopy(made)
    with torch.no_grad():
        for head in (0, 2):
            silenced.blocks[2].attention.out.weight[:, 8 * head : 8 * head + 8] = 0
    assert same(left, silenced)
    assert not same(left, made)
    query = left(*clips()).attention[3].query
    assert query.shape[1::2] == (2, 8)


def test_a_block_may_cease_to_attend() -> None:
    made = student("hybrid")
    kept = whole(made)
    kept[1] = dataclasses.replace(kept[1], heads=torch.tensor([], dtype=torch.long))
    left = cut(made, student_groups(made), tuple(kept))
    assert left.config.block_heads == (0, 0, 4)
    assert not left.config.attends(2)
    silenced = copy.deepcopy(made)
    with torch.no_grad():
        silenced.blocks[1].attention.out.weight.zero_()
        silenced.blocks[1].attention.out.bias.zero_()
    assert same(left, silenced)
    assert left.config.lookahead_frames == made.config.lookahead_frames - made.config.attention_ahead


@pytest.mark.parametrize("block", ["convolution", "attention", "hybrid"])
def test_a_block_that_goes_adds_nothing(block: Block) -> None:
    made = student(block)
    kept = whole(made)
    left = cut(made, student_groups(made), (kept[0], kept[2]))
    assert left.config.depth == 2
    silenced = copy.deepcopy(made)
    with torch.no_grad():
        for name, parameter in silenced.blocks[1].named_parameters():
            if name.startswith(("convolution.depthwise", "attention.out", "feed_forward.fall")):
                parameter.zero_()
    assert same(left, silenced)


def test_the_graph_takes_what_torch_pruning_takes() -> None:
    made = student("convolution")
    group = student_groups(made)[0].inner
    feed = copy.deepcopy(made.blocks[0].feed_forward)
    graph = tp.DependencyGraph().build_dependency(feed, example_inputs=torch.zeros(1, 2, 32))
    graph.get_pruning_group(feed.rise, tp.prune_linear_out_channels, [5, 9]).prune()
    kept = torch.tensor([i for i in range(64) if i not in {5, 9}])
    ours = group.keep(made.state_dict(), kept)
    theirs = {f"blocks.0.feed_forward.{name}": each for name, each in feed.state_dict().items()}
    assert set(ours) == {
        f"blocks.0.feed_forward.{name}" for name in ("rise.weight", "rise.bias", "fall.weight")
    }
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_scores_are_summed_over_what_goes_with_a_channel() -> None:
    made = student("hybrid")
    scores = {name: torch.rand_like(p) for name, p in made.named_parameters()}
    groups = student_groups(made)[1]
    prefix = "blocks.1.feed_forward."
    expected = scores[f"{prefix}rise.weight"][7].sum() + scores[f"{prefix}rise.bias"][7]
    expected = expected + scores[f"{prefix}fall.weight"][:, 7].sum()
    assert float(groups.inner.totals(scores)[7]) == pytest.approx(float(expected))
    prefix, rows = "blocks.1.attention.", [8 + i + 32 * part for part in range(3) for i in range(8)]
    expected = scores[f"{prefix}query_key_value.weight"][rows].sum()
    expected = expected + scores[f"{prefix}query_key_value.bias"][rows].sum()
    expected = (
        expected + scores[f"{prefix}out.weight"][:, 8:16].sum() + scores[f"{prefix}by_distance"][1].sum()
    )
    assert groups.heads is not None
    assert float(groups.heads.totals(scores)[1]) == pytest.approx(float(expected))
