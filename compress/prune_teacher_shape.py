"""The smaller shapes of a DinoSR teacher: what they cost, and which weights they keep.

What comes out is to load with plain transformers, so it has what a Data2VecAudioConfig can say: feed-forward
layers of one width, each with the channels that it needs most, and fewer layers. Heads cannot go, as their
number times their width is the width of the model there. Layers that DinoSR clusters stay: each codebook is
of one of them.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping

from torch import Tensor

from earkit.compress.prune_cost import SECONDS, Cost
from earkit.compress.prune_groups import Group, feed_forward
from earkit.compress.prune_plan import ROUND
from earkit.distill.dinosr import FRONT_ENDS, DinoSR, DinoSRConfig
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import ConfigError


def teacher_cost(config: DinoSRConfig, samples: int = SECONDS * SAMPLE_RATE) -> Cost:
    """Count the encoder, as `prune_cost` counts a student: learned numbers, and multiply-adds of a clip."""
    dim, inner, conv = config.dim, config.ffn_dim, config.conv_dim
    front, front_adds, channels = 0, 0, 1
    for kernel, stride in zip(*FRONT_ENDS[config.front_end], strict=True):
        samples = (samples - kernel) // stride + 1
        front += conv * channels * kernel + 2 * conv
        front_adds += samples * conv * channels * kernel
        channels = conv
    projection = 2 * conv + dim * (conv + 1) + dim  # and what stands for a masked frame
    position = dim * dim // config.pos_groups * config.pos_kernel
    layer = 4 * dim * (dim + 1) + 4 * dim + inner * (dim + 1) + dim * (inner + 1)
    frame_adds = dim * conv + config.pos_depth * position + config.depth * (4 * dim * dim + 2 * dim * inner)
    return Cost(
        front + projection + config.pos_depth * (position + dim) + 2 * dim + config.depth * layer,
        front_adds + samples * frame_adds + config.depth * 2 * samples * samples * dim,
    )


def layer_groups(model: DinoSR) -> tuple[Group, ...]:
    """Find the feed-forward channels of each layer."""
    return tuple(
        feed_forward(
            layer.feed_forward, layer.feed_forward.intermediate_dense, f"encoder.layers.{k}.feed_forward."
        )
        for k, layer in enumerate(model.student.encoder.layers)
    )


def smaller(
    model: DinoSR, scores: Mapping[str, Tensor], spent: Callable[[DinoSRConfig], int], budget: float
) -> tuple[DinoSR, tuple[int, ...]]:
    """Prune to a budget; gives the layers that stayed too, by number from 0.

    Time after time either every layer loses its least important channels, or one layer goes: whichever loses
    less importance for what it saves. scores: of single weights of `model.student`, by name.
    """
    groups, config = layer_groups(model), model.config
    channels = [group.totals(scores).sort() for group in groups]
    rest = [_whole(scores, k) - float(each.values.sum()) for k, each in enumerate(channels)]
    layers, width = list(range(config.depth)), config.ffn_dim

    def counted(depth: int, ffn_dim: int) -> int:
        return spent(dataclasses.replace(config, depth=depth, ffn_dim=ffn_dim))

    while (now := counted(len(layers), width)) > budget:
        gone, step = config.ffn_dim - width, width % ROUND or ROUND
        lost: dict[int | None, float] = {}  # importance per what is saved, by layer; None is a part of each
        if width > ROUND:
            importance = sum(float(channels[k].values[gone : gone + step].sum()) for k in layers)
            lost[None] = importance / (now - counted(len(layers), width - step))
        free = [k for k in layers if k < config.depth - config.codebooks]
        saved = now - counted(len(layers) - 1, width) if free else 0
        if not lost or saved <= now - budget:  # a layer takes no more than has to go
            lost |= {k: (rest[k] + float(channels[k].values[gone:].sum())) / saved for k in free}
        if not lost:
            raise ConfigError(
                f"pruned as far as it goes, this teacher still costs {now}, not {budget:.0f}: give a larger "
                "budget, or distil a student"
            )
        least = min(lost, key=lambda k: lost[k])
        if least is None:
            width -= step
        else:
            layers.remove(least)
    kept = {k: channels[k].indices[config.ffn_dim - width :].sort().values for k in layers}
    return _cut(model, groups, kept), tuple(layers)


def _whole(scores: Mapping[str, Tensor], layer: int) -> float:
    prefix = f"encoder.layers.{layer}."
    return sum(float(score.double().sum()) for name, score in scores.items() if name.startswith(prefix))


def _cut(model: DinoSR, groups: tuple[Group, ...], kept: Mapping[int, Tensor]) -> DinoSR:
    """Make the smaller teacher; heads and codebooks stay."""
    width = len(next(iter(kept.values())))
    made = DinoSR(dataclasses.replace(model.config, depth=len(kept), ffn_dim=width))
    state = model.student.state_dict()
    left = {name: tensor for name, tensor in state.items() if not name.startswith("encoder.layers.")}
    for place, (k, channels) in enumerate(kept.items()):
        prefix = f"encoder.layers.{k}."
        own = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
        own |= groups[k].keep(own, channels)
        left |= {
            f"encoder.layers.{place}.{name.removeprefix(prefix)}": tensor for name, tensor in own.items()
        }
    made.student.load_state_dict(left)
    made.heads.load_state_dict(model.heads.state_dict())
    made.codebooks.load_state_dict(model.codebooks.state_dict())
    return settled(made, model)


def settled(made: DinoSR, before: DinoSR) -> DinoSR:
    """Let the moving average begin at what was learned, and count updates on from before."""
    made.teacher = copy.deepcopy(made.student.encoder).requires_grad_(requires_grad=False)
    made.updates = before.updates
    return made.eval()
