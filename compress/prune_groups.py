"""What can go from a network, and every weight that goes with it, by torch-pruning's dependency graph.

Channels inside a feed-forward layer and attention heads can go one by one, blocks as a whole. The width that
all blocks share stays: it is what `frames` give, and a channel of it never was the cheapest thing to lose (a
`tiny` student at 60 % of its multiply-adds: by weight magnitude and by Taylor none of 256 was chosen; where
other scores made it 240 or 176, the loss rose more than with feed-forward channels alone). A depthwise
convolution has the channels of that width, so it goes with its block.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from earkit.distill.student import LocalAttention, Student, StudentConfig


@dataclass(frozen=True)
class Slices:
    """Where channels lie in one tensor: row c of `rows` holds the indices along `axis` that channel c has."""

    name: str
    axis: int
    rows: Tensor  # (channels, indices for each)


@dataclass(frozen=True)
class Group:
    """Channels of one place: of each any number but the last may go, and its weights with it."""

    slices: tuple[Slices, ...]

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.slices[0].rows)

    def totals(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Sum scores of single weights, by name of their tensor, over each channel. -> (channels,)."""
        total = torch.zeros(self.channels, dtype=torch.float64)
        for each in self.slices:
            score = scores[each.name].detach().cpu().double()
            by_index = score.movedim(each.axis, 0).reshape(score.shape[each.axis], -1).sum(1)
            total += by_index[each.rows].sum(1)
        return total

    def keep(self, state: Mapping[str, Tensor], kept: Tensor) -> dict[str, Tensor]:
        """Give the group's tensors with the kept channels alone. kept: their numbers, ascending."""
        cut: dict[str, Tensor] = {}
        for each in self.slices:
            tensor = cut.get(each.name, state[each.name])
            # A tensor's indices in their own order: query, key and value lie one behind the other.
            index = each.rows[kept].flatten().sort().values
            cut[each.name] = tensor.index_select(each.axis, index.to(tensor.device))
        return cut


def feed_forward(module: nn.Module, first: nn.Linear, prefix: str) -> Group:
    """Group the channels between the linear layers of a feed-forward module that takes (batch, time, dim).

    first: the layer that makes them. prefix: the module's name in its network.
    """
    example = torch.zeros(1, 2, first.in_features)
    graph = tp.DependencyGraph().build_dependency(module, example_inputs=example)
    names = {each: name for name, each in module.named_modules()}
    found = []
    for item in graph.get_pruning_group(first, tp.prune_linear_out_channels, list(range(first.out_features))):
        layer, out = item.dep.target.module, graph.is_out_channel_pruning_fn(item.dep.handler)
        if isinstance(layer, nn.Linear):
            rows = torch.tensor(item.idxs)[:, None]
            name = f"{prefix}{names[layer]}"
            found.append(Slices(f"{name}.weight", 0 if out else 1, rows))
            if out and layer.bias is not None:
                found.append(Slices(f"{name}.bias", 0, rows))
    return Group(tuple(found))


def attention_heads(attention: LocalAttention, prefix: str) -> Group:
    """Group the heads: rows of the fused projection, columns of the last layer, biases by distance.

    Written down by hand: torch-pruning's tracer does not come to an end in the windows of local attention.
    """
    heads, width = attention.heads, attention.head_dim
    own = torch.arange(heads * width).view(heads, width)
    fused = torch.cat([own + part * heads * width for part in range(3)], dim=1)
    return Group(
        (
            Slices(f"{prefix}query_key_value.weight", 0, fused),
            Slices(f"{prefix}query_key_value.bias", 0, fused),
            Slices(f"{prefix}out.weight", 1, own),
            Slices(f"{prefix}by_distance", 0, torch.arange(heads)[:, None]),
        )
    )


@dataclass(frozen=True)
class BlockGroups:
    """What a block has that can go: feed-forward channels, heads where it attends, and all of it."""

    inner: Group
    heads: Group | None
    names: tuple[str, ...]
    """Its learned tensors, those of the norm behind it among them."""


def student_groups(student: Student) -> tuple[BlockGroups, ...]:
    """Find what can go, block by block. The graph is traced on the CPU."""
    groups = []
    for k in range(student.config.depth):
        block, prefix = student.blocks[k], f"blocks.{k}."
        feed, attention = block.get_submodule("feed_forward"), getattr(block, "attention", None)
        first = feed.get_submodule("rise")
        assert isinstance(first, nn.Linear)
        heads = None
        if isinstance(attention, LocalAttention):
            heads = attention_heads(attention, f"{prefix}attention.")
        names = _named(student, (prefix, f"norms.{k}."))
        groups.append(BlockGroups(feed_forward(feed, first, f"{prefix}feed_forward."), heads, names))
    return tuple(groups)


def _named(student: Student, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, _ in student.named_parameters() if name.startswith(prefixes))


@dataclass(frozen=True)
class KeptBlock:
    """What stays of a block: its number from 0, and the numbers of its feed-forward channels and heads."""

    block: int
    inner: Tensor
    heads: Tensor | None


def shape(config: StudentConfig, inner_dims: Sequence[int], block_heads: Sequence[int]) -> StudentConfig:
    """Describe a student of which so many channels and heads are left in each block that is left."""
    heads = () if config.block == "convolution" else tuple(block_heads)
    return dataclasses.replace(
        config, size="custom", depth=len(inner_dims), inner_dims=tuple(inner_dims), block_heads=heads
    )


def cut(student: Student, groups: tuple[BlockGroups, ...], kept: tuple[KeptBlock, ...]) -> Student:
    """Make the smaller student of the weights that stay; in float arithmetic it does what they did."""
    state = student.state_dict()
    blocks = ("blocks.", "norms.")
    left = {name: tensor for name, tensor in state.items() if not name.startswith(blocks)}
    for k, each in enumerate(kept):
        group = groups[each.block]
        own = {name: state[name] for name in group.names}
        own |= group.inner.keep(own, each.inner)
        if group.heads is not None and each.heads is not None and len(each.heads):
            own |= group.heads.keep(own, each.heads)
        left |= {_renumbered(name, k): tensor for name, tensor in own.items() if _stays(name, each)}
    heads = [0 if each.heads is None else len(each.heads) for each in kept]
    made = Student(shape(student.config, [len(each.inner) for each in kept], heads))
    made.load_state_dict(left)
    return made


def _renumbered(name: str, block: int) -> str:
    kind, _, rest = name.split(".", 2)
    return f"{kind}.{block}.{rest}"


def _stays(name: str, kept: KeptBlock) -> bool:
    return ".attention." not in name or bool(kept.heads is not None and len(kept.heads))
