"""The plan: within its budget, in multiples of 16, and the least important per what it costs goes first."""

import dataclasses

import pytest
import torch

from earkit.compress.prune_cost import cost
from earkit.compress.prune_groups import KeptBlock, shape
from earkit.compress.prune_importance import BlockScores
from earkit.compress.prune_plan import plan
from earkit.distill.student import StudentConfig
from earkit.runtime.errors import ConfigError

CONFIG = StudentConfig(size="custom", dim=64, depth=3, heads=4, block="hybrid", bands=20, embedding_dim=16)


def parameters(config: StudentConfig) -> int:
    return cost(config).parameters


def multiply_adds(config: StudentConfig) -> int:
    return cost(config).multiply_adds


def scores(config: StudentConfig = CONFIG, seed: int = 0, rest: float = 1e9) -> list[BlockScores]:
    torch.manual_seed(seed)
    return [
        BlockScores(
            torch.rand(config.inner_dim(k)),
            100 * torch.rand(config.heads_of(k)) if config.heads_of(k) else None,
            rest,
        )
        for k in range(1, config.depth + 1)
    ]


def left(config: StudentConfig, kept: tuple[KeptBlock, ...]) -> StudentConfig:
    return shape(
        config,
        [len(each.inner) for each in kept],
        [0 if each.heads is None else len(each.heads) for each in kept],
    )


@pytest.mark.parametrize("spent", [parameters, multiply_adds])
@pytest.mark.parametrize("share", [1.0, 0.97, 0.9])
def test_a_budget_is_kept_and_not_undercut_by_more_than_a_step(spent: object, share: float) -> None:
    budget = share * spent(CONFIG)
    kept = plan(CONFIG, scores(), spent, budget)
    found = left(CONFIG, kept)
    assert spent(found) <= budget
    widest = dataclasses.replace(found, inner_dims=tuple(min(128, n + 16) for n in found.inner_dims))
    heads = tuple(n + (CONFIG.heads_of(k) > n) for k, n in enumerate(found.block_heads, start=1))
    assert spent(dataclasses.replace(widest, block_heads=heads)) >= budget
    assert all(n % 16 == 0 for n in found.inner_dims)


def test_the_least_important_channels_go_wherever_they_are() -> None:
    given = scores()
    given[1] = dataclasses.replace(given[1], inner=given[1].inner / 100)
    kept = plan(CONFIG, given, parameters, parameters(CONFIG) - 40 * 129)
    assert [len(each.inner) for each in kept] == [128, 80, 128]
    assert set(kept[1].inner.tolist()) == set(given[1].inner.argsort()[48:].tolist())
    assert kept[1].inner.tolist() == sorted(kept[1].inner.tolist())


def test_each_step_is_weighed_by_what_goes_with_it() -> None:
    """The first sixteen channels of a block are cheap and all others dear: the next come from elsewhere."""
    given = scores()
    cheap = torch.full((128,), 9.0)
    cheap[40:56] = 0.1
    given[0] = dataclasses.replace(given[0], inner=cheap)
    for k, each in ((1, 1.0), (2, 5.0)):
        given[k] = BlockScores(torch.full((128,), each), torch.full((4,), 1e6), 1e9)
    kept = plan(CONFIG, given, parameters, parameters(CONFIG) - 48 * 129)
    assert [len(each.inner) for each in kept] == [112, 96, 128]
    assert kept[0].inner.tolist() == [*range(40), *range(56, 128)]


def test_a_head_goes_when_it_is_cheaper_than_channels() -> None:
    given = scores()
    heads = torch.tensor([5.0, 1e-3, 5.0, 5.0])
    given[2] = dataclasses.replace(given[2], heads=heads)
    kept = plan(CONFIG, given, parameters, parameters(CONFIG) - 1)
    assert kept[2].heads is not None
    assert kept[2].heads.tolist() == [0, 2, 3]
    assert [len(each.inner) for each in kept] == [128] * 3


def test_a_block_goes_whole_when_little_is_lost_with_it() -> None:
    given = scores()
    given[0] = BlockScores(
        given[0].inner / 1e6 + 1, None, 0.0
    )  # dearer channel by channel than the others' least
    given[0] = dataclasses.replace(given[0], inner=torch.full((128,), 1e-9))
    kept = plan(CONFIG, given, parameters, 0.8 * parameters(CONFIG))
    assert [each.block for each in kept] == [1, 2]
    # The same block stays where it would be more than what has to go.
    assert len(plan(CONFIG, given, parameters, parameters(CONFIG) - 10)) == 3


def test_a_width_that_is_no_multiple_becomes_one() -> None:
    config = dataclasses.replace(CONFIG, inner_dims=(100, 100, 100))
    kept = plan(config, scores(config), parameters, 0.9 * parameters(config))
    assert all(len(each.inner) % 16 == 0 or len(each.inner) == 100 for each in kept)
    assert any(len(each.inner) < 100 for each in kept)


def test_attention_blocks_keep_a_head() -> None:
    config = dataclasses.replace(CONFIG, block="attention")
    given = [
        dataclasses.replace(each, heads=each.heads * 0) for each in scores(config) if each.heads is not None
    ]
    kept = plan(config, given, parameters, 0.6 * parameters(config))
    assert {len(each.heads) for each in kept if each.heads is not None} == {1}


def test_what_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ConfigError, match="pruned as far as it goes, this student still costs"):
        plan(CONFIG, scores(rest=0.0), parameters, 100)
