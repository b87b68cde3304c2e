"""The students: small networks from raw audio to frames and embeddings, at 25 frames per second.

`dim` is the dial: one block and one attention head for every 32 of it. Every block sees a bounded stretch of
time, so the cost is linear in the length, and `context_frames` and `lookahead` say how far a frame depends on
its surroundings: windows and streams need no second model.

Three kinds of block were compared (see `benchmarks/student_blocks.py`):

- `convolution`: a depthwise convolution over time, then a feed-forward layer, each frame normalised first.
- `attention`: local self-attention with learned relative positions, then a feed-forward layer.
- `hybrid`: convolution blocks, of which the middle and the last one attend as well.

What lies beyond a clip's length is zero before anything looks across time, which is what the end of an
unpadded clip looks like; so a clip's result does not depend on its batch.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from earkit.distill.front_end import FRAME, HOP, LEAD, WINDOW, LogMel, student_frames
from earkit.distill.trace import QueryKeyValue, StudentTrace
from earkit.runtime.errors import ConfigError

SIZES = {"micro": 160, "tiny": 256, "small": 384}
"""Width by name: at most 1, 5 and 12 million parameters."""

LENGTH_GROUPS = 4
"""Into how many runs short clips are parted by length."""

Block = Literal["convolution", "attention", "hybrid"]


@dataclass(frozen=True)
class StudentConfig:
    """Shape of a student. `dim` is the dial, `size` names three of its values; what is 0 is derived."""

    size: Literal["micro", "tiny", "small", "custom"] = "tiny"
    dim: int = 0
    depth: int = 0
    heads: int = 0
    block: Block = "convolution"
    expansion: int = 2
    kernel: int = 7
    kernel_ahead: int = 3
    """Of the kernel's taps, those that look ahead."""
    attention_back: int = 32
    """Frames before itself that a frame attends to."""
    attention_ahead: int = 16
    bands: int = 80
    stem: int = 8
    """Windows of 10 ms that the first convolution spans, four of them in its own frame."""
    embedding_dim: int = 256
    pooling_heads: int = 0
    inner_dims: tuple[int, ...] = ()
    """Widths of the feed-forward layers, block by block, of a pruned student; else expansion * dim."""
    block_heads: tuple[int, ...] = ()
    """Attention heads, block by block, of a pruned student, each of width dim / heads; 0 does not attend."""

    def __post_init__(self) -> None:
        if self.size != "custom" and self.dim not in {0, SIZES[self.size]}:
            raise ConfigError(
                f'a {self.size} student has dim {SIZES[self.size]}, not {self.dim}: take size = "custom"'
            )
        dim = self.dim or SIZES.get(self.size, 0)
        # A block that attends costs about a third more than one that convolves.
        derived = {"dim": dim, "depth": dim // 32 * 3 // 4 if self.block == "attention" else dim // 32}
        for name, value in {**derived, "heads": dim // 32, "pooling_heads": max(2, dim // 64)}.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        sizes = (self.dim, self.depth, self.heads, self.expansion, self.bands)
        if min(*sizes, self.embedding_dim, self.pooling_heads) < 1:
            raise ConfigError("a custom student needs student.dim, 32 or more; no size in it is 0")
        if self.dim % self.heads:
            raise ConfigError(f"student.dim {self.dim} must be a multiple of student.heads {self.heads}")
        if not 0 <= self.kernel_ahead < self.kernel:
            raise ConfigError(
                f"student.kernel_ahead is {self.kernel_ahead}: at least one of the {self.kernel} taps of "
                "student.kernel is the frame itself"
            )
        if not 0 <= self.attention_ahead <= self.attention_back or not self.attention_back:
            raise ConfigError("student.attention_ahead is from 0 to student.attention_back, which is above 0")
        if self.stem < 4 or self.stem % 2:
            raise ConfigError(f"student.stem is {self.stem}: give an even number, 4 (its own frame) or more")
        self._check_blocks()

    def _check_blocks(self) -> None:
        """Check what is given block by block."""
        for name, least in (("inner_dims", 1), ("block_heads", int(self.block == "attention"))):
            given = getattr(self, name)
            if given and (len(given) != self.depth or min(given) < least):
                raise ConfigError(
                    f"student.{name} has {', '.join(map(str, given))}: give one number, {least} or more, for "
                    f"each of the {self.depth} blocks, or none"
                )
        if self.block == "convolution" and any(self.block_heads):
            raise ConfigError("student.block_heads is for blocks of attention or hybrid, not of convolution")

    def inner_dim(self, block: int) -> int:
        """Width of a block's feed-forward layer; blocks count from 1."""
        return self.inner_dims[block - 1] if self.inner_dims else self.expansion * self.dim

    def heads_of(self, block: int) -> int:
        """Attention heads of a block, counted from 1."""
        if self.block_heads:
            return self.block_heads[block - 1]
        return self.heads if self.attends(block) else 0

    def attends(self, block: int) -> bool:
        """Whether a block, counted from 1, has attention."""
        if self.block_heads:
            return self.block_heads[block - 1] > 0
        if self.block == "hybrid":
            return block in {(self.depth + 1) // 2, self.depth}
        return self.block == "attention"

    @property
    def lookahead_frames(self) -> int:
        """Frames after its own that a frame depends on, but for the stem's overlap."""
        return sum(self._reach(block)[1] for block in range(1, self.depth + 1))

    @property
    def context_frames(self) -> int:
        """Frames before its own that a frame depends on."""
        return sum(self._reach(block)[0] for block in range(1, self.depth + 1))

    @property
    def lookahead(self) -> int:
        """Samples after a frame's end that decide it."""
        stem_ahead = (self.stem - 4) // 2 * HOP + WINDOW - HOP - LEAD
        return self.lookahead_frames * FRAME + stem_ahead

    def _reach(self, block: int) -> tuple[int, int]:
        back = ahead = 0
        if self.block != "attention":
            back, ahead = self.kernel - 1 - self.kernel_ahead, self.kernel_ahead
        if self.attends(block):
            back, ahead = back + self.attention_back, ahead + self.attention_ahead
        return back, ahead


class FeedForward(nn.Module):
    """Two linear layers over each frame."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.rise = nn.Linear(dim, inner_dim)
        self.fall = nn.Linear(inner_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, dim) -> the same."""
        fell: Tensor = self.fall(F.gelu(self.rise(self.norm(x))))
        return fell


class Convolution(nn.Module):
    """A depthwise convolution over time whose look-ahead is chosen."""

    def __init__(self, dim: int, kernel: int, ahead: int) -> None:
        super().__init__()
        self.back, self.ahead = kernel - 1 - ahead, ahead
        self.norm = nn.LayerNorm(dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, groups=dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(batch, time, dim), valid (batch, time, 1) -> (batch, time, dim)."""
        y = self.norm(x) * valid
        if self.training:
            return self._unmoved(y)
        convolved: Tensor = self.depthwise(F.pad(y.transpose(1, 2), (self.back, self.ahead)))
        return convolved.transpose(1, 2)

    def _unmoved(self, y: Tensor) -> Tensor:
        """Convolve an image of one row whose channels stay innermost: half the time, backwards too."""
        row = F.pad(y, (0, 0, self.back, self.ahead)).transpose(1, 2)[:, :, None]
        weight, bias = self.depthwise.weight[:, :, None], self.depthwise.bias
        return F.conv2d(row, weight, bias, groups=len(weight))[:, :, 0].transpose(1, 2)


class LocalAttention(nn.Module):
    """Self-attention within a window: queries by chunks of `back` frames, each with its own keys.

    A learned bias by distance, for each head, is all that a frame knows about places.
    """

    def __init__(self, dim: int, heads: int, back: int, ahead: int, head_dim: int | None = None) -> None:
        super().__init__()
        self.heads, self.back, self.ahead = heads, back, ahead
        self.head_dim = head_dim or dim // heads
        self.norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * heads * self.head_dim)
        self.out = nn.Linear(heads * self.head_dim, dim)
        self.by_distance = nn.Parameter(torch.zeros(heads, back + ahead + 1))
        # Key j of a chunk's 'back' keys before it, its own and 'ahead' after, against its query i.
        distance = torch.arange(2 * back + ahead) - back - torch.arange(back)[:, None]
        self.register_buffer("within", (distance >= -back) & (distance <= ahead), persistent=False)
        self.register_buffer("distance", (distance + back).clamp(0, back + ahead), persistent=False)

    within: Tensor
    distance: Tensor

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, QueryKeyValue]:
        """(batch, time, dim), valid (batch, time, 1) -> (batch, time, dim), and what attended to what."""
        batch, time, _ = x.shape
        projected = (self.query_key_value(self.norm(x)) * valid).view(batch, time, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (batch, heads, time, head dim)
        chunks = (time + self.back - 1) // self.back
        end = chunks * self.back - time
        q = F.pad(query, (0, 0, 0, end)).view(batch, self.heads, chunks, self.back, -1)
        k, v = (self._windows(each, chunks, end) for each in (key, value))
        seen = self._windows(valid.transpose(1, 2)[:, None, 0, :, None], chunks, end)[..., 0] > 0.5
        scores = q @ k.transpose(-1, -2) / self.head_dim**0.5  # (batch, heads, chunks, back, keys)
        scores = scores + self.by_distance[:, self.distance][:, None]
        counted = self.within & seen.unsqueeze(3)
        # Padded queries see nothing: a finite floor keeps their softmax free of NaN.
        weights = scores.masked_fill(~counted, -1e4).softmax(-1)
        mixed = (weights @ v).flatten(2, 3)[:, :, :time].transpose(1, 2).flatten(2)
        attended: Tensor = self.out(mixed)
        return attended, QueryKeyValue(query, key, value)

    def _windows(self, x: Tensor, chunks: int, end: int) -> Tensor:
        """(batch, heads, time, dim) -> (batch, heads, chunks, 2 * back + ahead, dim)."""
        padded = F.pad(x, (0, 0, self.back, end + self.back))
        padded = padded.view(*x.shape[:2], chunks + 2, self.back, x.shape[3])
        before, own, after = padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:, : self.ahead]
        return torch.cat([before, own, after], dim=3)


class StudentBlock(nn.Module):
    """Convolution, attention or both, then a feed-forward layer, each added to what came in."""

    def __init__(self, config: StudentConfig, block: int) -> None:
        super().__init__()
        convolves, attends = config.block != "attention", config.attends(block)
        self.convolution = Convolution(config.dim, config.kernel, config.kernel_ahead) if convolves else None
        self.attention = (
            LocalAttention(
                config.dim,
                config.heads_of(block),
                config.attention_back,
                config.attention_ahead,
                config.dim // config.heads,
            )
            if attends
            else None
        )
        self.feed_forward = FeedForward(config.dim, config.inner_dim(block))

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, QueryKeyValue | None]:
        """(batch, time, dim), valid (batch, time, 1) -> (batch, time, dim), and the attention if any."""
        attention = None
        if self.convolution is not None:
            x = x + self.convolution(x, valid)
        if self.attention is not None:
            attended, attention = self.attention(x, valid)
            x = x + attended
        return x + self.feed_forward(x), attention


class Pooling(nn.Module):
    """Attentive statistics (Okabe et al. 2018) that know where in the clip a frame is, and a projection.

    Each head looks at what frames hold and at how near they are to its place, from 0, the beginning of what
    is pooled, to 1, its end; places and sharpness are learned. So the embedding of a word keeps the order of
    its sounds, which one mean would lose.
    """

    def __init__(self, dim: int, heads: int, embedding_dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, 64), nn.Tanh(), nn.Linear(64, heads))
        self.place = nn.Parameter((torch.arange(heads) + 0.5) / heads)
        self.sharpness = nn.Parameter(torch.full((heads,), 2.0 * heads))
        self.project = nn.Linear((heads + 1) * dim, embedding_dim)
        self.register_buffer("centre", torch.zeros(embedding_dim))

    centre: Tensor
    """Mean over what was trained on, taken off: cosines around another point tell less apart."""

    def forward(self, frames: Tensor, counted: Tensor) -> Tensor:
        """(batch, time, dim), counted (batch, time, 1), 1 or 0 -> (batch, embedding dim), not normalised."""
        position = (counted.cumsum(1) - 0.5) / counted.sum(1, keepdim=True).clamp(min=1)
        near = self.sharpness * (position - self.place).abs()  # (batch, time, heads)
        weights = (self.score(frames) - near - 1e4 * (1 - counted)).softmax(1)
        means = weights.transpose(1, 2) @ frames  # (batch, heads, dim)
        overall = weights.mean(2)[:, None]  # (batch, 1, time)
        mean = means.mean(1)
        variance = (overall @ (frames * frames))[:, 0] - mean * mean
        deviation = variance.clamp(min=1e-6).sqrt()
        pooled: Tensor = self.project(torch.cat([means.flatten(1), deviation], dim=1))
        return pooled - self.centre

    @torch.no_grad()
    def turn(self, axes: Tensor) -> None:
        """Give embeddings along other axes. axes: (embedding dim, embedding dim), orthonormal rows."""
        for tensor in (self.project.weight, self.project.bias, self.centre):
            tensor.copy_(axes @ tensor)

    @torch.no_grad()
    def follow(self, made: Tensor, rate: float = 0.02) -> None:
        """Move the centre towards the mean of what was just made. made: (n, embedding dim)."""
        mean = made.float().mean(0)
        if dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        self.centre.add_(mean, alpha=rate)


class Student(nn.Module):
    """Audio in, a trace of frames out; `pool` makes embeddings of them."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.log_mel = LogMel(config.bands)
        self.stem = nn.Conv1d(config.bands, config.dim, config.stem, stride=4)
        self.blank = nn.Parameter(torch.zeros(config.dim))
        """Stands for a masked frame, where training hides some."""
        self.blocks = nn.ModuleList(StudentBlock(config, k) for k in range(1, config.depth + 1))
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in range(config.depth))
        """One behind each block, for those who leave there."""
        self.pooling = Pooling(config.dim, config.pooling_heads, config.embedding_dim)

    def forward(
        self, audio: Tensor, lengths: Tensor, masked: Tensor | None = None, depth: int | None = None
    ) -> StudentTrace:
        """Run the first `depth` blocks, or all.

        audio: (batch, samples); lengths: (batch,) samples that count; masked: (batch, frames) bool.
        The trace's hidden states are normalised, the last one is the student's `frames`.
        """
        if depth is not None and not 1 <= depth <= self.config.depth:
            raise ConfigError(f"depth {depth} is not one of this student's: take 1 to {self.config.depth}")
        counted = torch.arange(audio.shape[1], device=audio.device) < lengths[:, None]
        mel = self.log_mel(torch.where(counted, audio, 0.0))  # (batch, bands, 4 * frames)
        time = mel.shape[2] // 4
        valid = torch.arange(time, device=audio.device) < student_frames(lengths)[:, None]
        mask = valid[:, :, None].to(audio.dtype)
        windows = mel * mask.transpose(1, 2).repeat_interleave(4, dim=2)
        overlap = (self.config.stem - 4) // 2
        x = self.stem(F.pad(windows, (overlap, overlap))).transpose(1, 2)
        if masked is not None:
            x = torch.where(masked[:, :, None], self.blank, x)
        x = x * mask
        hidden = [x]
        attentions = {}
        for k, (block, norm) in enumerate(zip(self.blocks[:depth], self.norms[:depth], strict=True), start=1):
            x, attention = block(x, mask)
            hidden.append(norm(x) * mask)
            if attention is not None:
                attentions[k] = attention
        return StudentTrace(tuple(hidden), valid, attentions)

    def pool(self, frames: Tensor, counted: Tensor) -> Tensor:
        """Make one embedding of the counted frames of each clip, before truncation and normalisation.

        frames: (batch, time, dim) -> (batch, embedding dim); counted: (batch, time) bool.
        """
        pooled: Tensor = self.pooling(frames, counted[:, :, None].to(frames.dtype))
        return pooled

    def embed_cuts(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Make one embedding of each of many short clips, before truncation and normalisation.

        On a CPU they run with those of like length: there padding costs what sound does.
        audio: (n, samples); lengths: (n,) -> (n, embedding dim).
        """
        order = lengths.argsort()
        made = []
        for alike in order.chunk(LENGTH_GROUPS if audio.device.type == "cpu" else 1):
            counted = lengths[alike]
            trace = self(audio[alike, : int(counted.max())], counted)
            made.append(self.pool(trace.hidden[-1], trace.valid))
        return torch.cat(made)[order.argsort()]

    def parameters_kept(self) -> int:
        """Count what ends up in a model file, fixed tables included."""
        fixed = sum(b.numel() for b in self.log_mel.buffers())
        return fixed + sum(p.numel() for p in self.parameters())
