"""DinoSR: masked prediction of the cluster codes of an EMA teacher (Liu, Chang, Auli, Hsu, Glass 2023).

The student reads audio with masked frames; the teacher, an exponential moving average of it, reads the
same audio unmasked. The feed-forward outputs of the teacher's top layers, instance-normalised over time,
are assigned to their nearest codewords; the student predicts those codes at the masked frames. Codebooks
are moving averages too: no gradient ever reaches them.

Front end and transformer are transformers' `Data2VecAudioModel`, which is the authors' architecture.
Two recipes:

- `dinosr`, the paper's: all codebooks are predicted from the last layer.
- `layerwise`: student layer k predicts the codebook of teacher layer k, and the EMA decay approaches one
  exponentially (better units, worse word error rates in the literature).
"""

import copy
import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F
from transformers import Data2VecAudioConfig, Data2VecAudioModel, Wav2Vec2FeatureExtractor
from transformers.models.data2vec.modeling_data2vec_audio import (
    Data2VecAudioConvLayer,
    Data2VecAudioEncoder,
    Data2VecAudioEncoderLayer,
)

from earkit.distill.config import build
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import CheckpointError, ConfigError, StorageError

FRONT_ENDS = {
    "paper": ((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)),
    "filterbank": ((256, 8), (80, 4)),
}
"""Kernels and strides of the convolutions; all give 50 frames per second at 16 kHz."""
FILTERBANK_BANDS = 40


@dataclass(frozen=True)
class DinoSRConfig:
    """Shape and schedule of a DinoSR model. `depth` is the dial: what is 0 is derived from it.

    Depth 12 is the paper's base model: width 768, 12 heads, 8 codebooks of 256.
    """

    depth: int = 12
    dim: int = 0
    heads: int = 0
    ffn_dim: int = 0
    conv_dim: int = 0
    codebooks: int = 0
    codebook_size: int = 256
    front_end: Literal["paper", "filterbank"] = "paper"
    """The paper's seven convolutions, or two that start out as band filters: see `begin_as_filterbank`."""
    pos_depth: int = 5
    pos_kernel: int = 19
    pos_groups: int = 16
    recipe: Literal["dinosr", "layerwise"] = "dinosr"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    layer_drop: float = 0.05
    codebook_decay: float = 0.9
    ema_start: float = 0.999
    ema_end: float = 0.9999
    ema_anneal_steps: int = 30_000
    ema_timescale: int = 20_000
    freeze_step: int = 200_001
    revive_after: int = 0
    """Replace a codeword that won no frame for so many updates by a random target frame; 0 is never."""

    def __post_init__(self) -> None:
        derived = {
            "dim": 64 * self.depth,
            "heads": self.depth,
            "ffn_dim": 4 * (self.dim or 64 * self.depth),
            "conv_dim": 16 * round(512 / 12 * self.depth / 16)
            if self.front_end == "paper"
            else 4 * FILTERBANK_BANDS,
            "codebooks": max(1, round(self.depth * 2 / 3)),
        }
        for name, value in derived.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        if self.dim % self.heads or self.dim % self.pos_groups:
            raise ConfigError(
                f"dim {self.dim} must be a multiple of heads {self.heads} and of pos_groups {self.pos_groups}"
            )
        if not 0 < self.codebooks <= self.depth:
            raise ConfigError(f"codebooks must be between 1 and the depth {self.depth}, not {self.codebooks}")
        if self.recipe not in {"dinosr", "layerwise"}:
            raise ConfigError(f"recipe must be dinosr or layerwise, not {self.recipe}")
        if self.recipe == "layerwise" and self.layer_drop:
            raise ConfigError("the layerwise recipe needs every layer: set model.layer_drop=0")
        if self.front_end not in FRONT_ENDS:
            raise ConfigError(f"front_end must be one of {', '.join(FRONT_ENDS)}, not {self.front_end}")
        if self.front_end == "filterbank" and self.conv_dim != 4 * FILTERBANK_BANDS:
            raise ConfigError(
                f"the filterbank front end has conv_dim {4 * FILTERBANK_BANDS}, not {self.conv_dim}"
            )

    def frames(self, samples: int) -> int:
        """Frames that the front end makes of so many samples."""
        for kernel, stride in zip(*FRONT_ENDS[self.front_end], strict=True):
            samples = (samples - kernel) // stride + 1
        return max(samples, 0)

    def ema_decay(self, update: int) -> float:
        """EMA decay in force after optimizer step number `update`; 1 is a teacher that stands still."""
        if update >= self.freeze_step:
            return 1.0
        if self.recipe == "layerwise":
            return 1.0 - (1.0 - self.ema_start) * math.exp(-update / self.ema_timescale)
        annealed = min(1.0, update / self.ema_anneal_steps) if self.ema_anneal_steps else 1.0
        return self.ema_start + (self.ema_end - self.ema_start) * annealed

    def data2vec(self) -> Data2VecAudioConfig:
        """Describe the same network to transformers."""
        kernels, strides = FRONT_ENDS[self.front_end]
        return Data2VecAudioConfig(
            hidden_size=self.dim,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.ffn_dim,
            conv_dim=(self.conv_dim,) * len(kernels),
            conv_kernel=kernels,
            conv_stride=strides,
            conv_bias=False,
            num_feat_extract_layers=len(kernels),
            num_conv_pos_embeddings=self.pos_depth,
            conv_pos_kernel_size=self.pos_kernel,
            num_conv_pos_embedding_groups=self.pos_groups,
            hidden_dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
            feat_proj_dropout=0.0,
            layerdrop=self.layer_drop,
            attn_implementation="sdpa",
        )


def standardise(audio: Tensor) -> Tensor:
    """Zero mean and unit variance per clip, as the authors feed it. audio: (batch, samples)."""
    return F.layer_norm(audio, audio.shape[-1:])


@torch.no_grad()
def begin_as_filterbank(filters: Data2VecAudioConvLayer, sums: Data2VecAudioConvLayer) -> None:
    """Initialise a two-layer front end as a mel-spaced spectrogram, instead of at random.

    From random convolutions over the waveform, masked prediction needs many hours of audio to find out about
    spectra, more than a nano model ever hears. The first layer becomes windowed sinusoids in four phases per
    band, as long as the band is narrow, with pre-emphasis. GELU(x) + GELU(-x) grows like x^2 and then |x|, so
    that the second layer, adding the phases over 40 ms, has the magnitude of each band; it gives it in both
    signs, which together pass GELU without loss, at two gains. All remain trainable.
    """
    bands, kernel = FILTERBANK_BANDS, filters.conv.weight.shape[2]
    mel = torch.linspace(math.log(1 + 100 / 700), math.log(1 + 7000 / 700), bands)  # 100 Hz to 7 kHz
    hertz = 700 * (mel.exp() - 1)
    spacing = (hertz + 700) * (mel[1] - mel[0])
    samples = torch.arange(kernel) - (kernel - 1) / 2
    widths = (2 * SAMPLE_RATE / spacing).clamp(48, kernel)[:, None]
    windows = (0.5 + 0.5 * torch.cos(2 * math.pi * samples / widths)) * (samples.abs() < widths / 2)
    phases = torch.arange(4)[:, None] * math.pi / 2
    angles = 2 * math.pi * hertz[:, None, None] * samples / SAMPLE_RATE + phases
    waves = angles.cos() * windows[:, None]  # (bands, 4, kernel)
    waves *= (hertz / 1000).sqrt()[:, None, None] / waves.norm(dim=2, keepdim=True)
    filters.conv.weight.copy_(waves.reshape(4 * bands, 1, kernel))
    taps = sums.conv.weight.shape[2]
    hann = torch.hann_window(taps + 2, periodic=False)[1:-1]
    magnitude = torch.eye(bands).repeat_interleave(4, dim=1)[:, :, None] * hann / hann.sum()
    sums.conv.weight.copy_(torch.cat([magnitude, -magnitude, magnitude, -magnitude]))
    sums.layer_norm.weight[2 * bands :] = 4.0


@dataclass(frozen=True)
class EncoderTrace:
    """What the transformer made of one batch; every tensor is (batch, time, dim)."""

    output: Tensor
    layers: list[Tensor]
    ffn: list[Tensor]
    """Feed-forward outputs before the residual sum: what DinoSR clusters. A dropped layer has none."""


def transformer_layer(
    layer: Data2VecAudioEncoderLayer, x: Tensor, attention_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run one layer: its output, and its feed-forward output before the residual sum."""
    attended = layer.attention(x, attention_mask=attention_mask)[0]
    x = layer.layer_norm(x + layer.dropout(attended))
    feed = layer.feed_forward
    inner = feed.intermediate_dropout(feed.intermediate_act_fn(feed.intermediate_dense(x)))
    ffn = feed.output_dense(inner)  # (batch, time, dim)
    return layer.final_layer_norm(x + feed.output_dropout(ffn)), ffn


Layer = Callable[[Data2VecAudioEncoderLayer, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def encode(
    encoder: Data2VecAudioEncoder,
    features: Tensor,
    frame_mask: Tensor | None = None,
    *,
    layer_drop: float = 0.0,
    run_layer: Layer = transformer_layer,
) -> EncoderTrace:
    """Run a `Data2VecAudioEncoder`, keeping every layer. frame_mask: (batch, time), true where audio is.

    As in the authors' code, padded frames leak into valid ones through the positional convolutions.
    """
    x = features
    attention_mask = None
    if frame_mask is not None:
        x = x * frame_mask.unsqueeze(-1)
        attention_mask = frame_mask[:, None, None, :].expand(-1, 1, x.shape[1], -1)
    x = encoder.dropout(encoder.layer_norm(x + encoder.pos_conv_embed(x)))
    layers, ffns = [], []
    for layer in encoder.layers:
        if layer_drop and float(torch.rand(())) < layer_drop:
            continue
        x, ffn = run_layer(layer, x, attention_mask)
        layers.append(x)
        ffns.append(ffn)
    return EncoderTrace(x, layers, ffns)


class Codebooks(nn.Module):
    """Online k-means: codeword v is sums[v] / counts[v], both decayed when v wins frames (paper, eq. 4).

    Kept in float32 whatever the precision of training; across processes the statistics are summed.
    """

    sums: Tensor
    counts: Tensor
    idle: Tensor

    def __init__(self, books: int, size: int, dim: int, *, decay: float, revive_after: int = 0) -> None:
        super().__init__()
        self.decay = decay
        self.revive_after = revive_after
        words = F.instance_norm(torch.randn(books, dim, size)).transpose(1, 2)
        self.register_buffer("sums", words.contiguous())  # (books, size, dim)
        self.register_buffer("counts", torch.ones(books, size))
        # Updates without a frame. With revival on, a word that does not win in the first one is dead already.
        self.register_buffer("idle", torch.full((books, size), revive_after))

    @torch.no_grad()
    def assign(self, targets: Tensor) -> Tensor:
        """Nearest codeword of each frame. targets: (books, frames, dim) -> codes: (books, frames)."""
        words = self.sums / self.counts.unsqueeze(-1)
        with torch.autocast(targets.device.type, enabled=False):
            # |t - w|^2 = |t|^2 - 2 t.w + |w|^2, and |t|^2 is the same for every word.
            distance = words.square().sum(-1).unsqueeze(1) - 2 * targets @ words.transpose(1, 2)
        return distance.argmin(-1)

    @torch.no_grad()
    def update(self, targets: Tensor, codes: Tensor) -> None:
        """Move the codewords that won frames towards the mean of those frames."""
        onehot = F.one_hot(codes, self.counts.shape[1]).to(targets.dtype)  # (books, frames, size)
        count = onehot.sum(1)
        with torch.autocast(targets.device.type, enabled=False):
            total = onehot.transpose(1, 2) @ targets  # (books, size, dim)
        if dist.is_initialized():
            dist.all_reduce(count)
            dist.all_reduce(total)
        won = count > 0
        keep = torch.where(won, self.decay, 1.0)
        self.counts.mul_(keep).add_((1 - keep) * count)
        self.sums.mul_(keep.unsqueeze(-1)).add_((1 - keep).unsqueeze(-1) * total)
        self.idle.add_(1).masked_fill_(won, 0)
        if self.revive_after:
            self._revive(targets)

    def _revive(self, targets: Tensor) -> None:
        picks = torch.randint(targets.shape[1], self.idle.shape, device="cpu").to(targets.device)
        candidates = torch.take_along_dim(targets, picks.unsqueeze(-1), dim=1)  # (books, size, dim)
        if dist.is_initialized():
            dist.broadcast(candidates, src=0)
        dead = self.idle >= self.revive_after
        self.sums.copy_(torch.where(dead.unsqueeze(-1), candidates, self.sums))
        self.counts.masked_fill_(dead, 1.0)
        # Not as if it had won: it counts as active when it does, and has half the time to.
        self.idle.masked_fill_(dead, self.revive_after // 2)

    def active(self, within: int = 100) -> Tensor:
        """Codewords per book that won a frame within so many updates. -> (books,)."""
        return (self.idle < within).sum(-1)


@dataclass(frozen=True)
class DinoSROutput:
    """One forward pass. `loss_sum / masked` is the mean loss per masked frame, averaged over codebooks."""

    loss_sum: Tensor
    masked: int
    codes: Tensor  # (codebooks, masked frames), in row-major order of the mask
    target_perplexity: Tensor  # (codebooks,)
    prediction_perplexity: Tensor  # (codebooks,)
    frames: Tensor  # (masked frames, dim): the student's last layer there


class DinoSR(nn.Module):
    """Student, EMA teacher, codebooks and prediction heads; `follow` moves the teacher after each step."""

    def __init__(self, config: DinoSRConfig) -> None:
        super().__init__()
        self.config = config
        self.student = Data2VecAudioModel(config.data2vec())
        for layer in self.student.encoder.pos_conv_embed.layers:
            layer.conv.reset_parameters()  # the authors leave these at torch's default
        if config.front_end == "filterbank":
            begin_as_filterbank(*self.student.feature_extractor.conv_layers)
        self.heads = nn.ModuleList(
            nn.Linear(config.dim, config.codebook_size) for _ in range(config.codebooks)
        )
        self.codebooks = Codebooks(
            config.codebooks,
            config.codebook_size,
            config.dim,
            decay=config.codebook_decay,
            revive_after=config.revive_after,
        )
        self.teacher = copy.deepcopy(self.student.encoder).requires_grad_(requires_grad=False).eval()
        self.updates = 0
        self._run_layer: Layer = transformer_layer

    def compile_layers(self) -> None:
        """Compile what a layer does; the whole stack would compile anew for each set of dropped layers."""
        self._run_layer = torch.compile(transformer_layer, dynamic=True)

    def train(self, mode: bool = True) -> "DinoSR":  # noqa: FBT001, FBT002 - torch's signature
        """Switch the student; the teacher always runs without dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def frozen(self) -> bool:
        """Whether teacher and front end stand still for good."""
        return self.updates >= self.config.freeze_step

    def front_end(self, audio: Tensor) -> Tensor:
        """Frames of standardised audio before the transformer. (batch, samples) -> (batch, time, dim)."""
        x = audio[
            :, None, None
        ]  # (batch, channels, 1, time): 2-d, because only that has a channels-last layout
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            for layer in self.student.feature_extractor.conv_layers:
                # Channels last, the norm needs no transposing copies: 2.4 times as fast on a CPU.
                x = x.contiguous(memory_format=torch.channels_last)
                x = F.conv2d(x, layer.conv.weight.unsqueeze(2), stride=(1, layer.conv.stride[0]))
                x = layer.activation(layer.layer_norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
            features: Tensor = self.student.feature_projection(x[:, :, 0].transpose(1, 2))[0]
        return features

    def targets(self, features: Tensor, mask: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """Return what is clustered, at the masked frames. -> (codebooks, masked frames, dim), float32."""
        with torch.no_grad():
            trace = encode(self.teacher, features, frame_mask, run_layer=self._run_layer)
            ffns = trace.ffn[-self.config.codebooks :]
            # Instance norm: each channel to zero mean and unit variance over the clip's time.
            return torch.stack(
                [F.instance_norm(f.float().transpose(1, 2)).transpose(1, 2)[mask] for f in ffns]
            )

    def forward(self, audio: Tensor, mask: Tensor, frame_mask: Tensor | None = None) -> DinoSROutput:
        """Predict the teacher's codes at masked frames, and in training let the codebooks follow.

        audio: (batch, samples), standardised; mask: (batch, time) bool, true where the student is blind.
        """
        features = self.front_end(audio)  # (batch, time, dim)
        blind = torch.where(mask.unsqueeze(-1), self.student.masked_spec_embed.to(features.dtype), features)
        trace = encode(
            self.student.encoder,
            blind,
            frame_mask,
            layer_drop=self.config.layer_drop if self.training else 0.0,
            run_layer=self._run_layer,
        )
        targets = self.targets(features.detach(), mask, frame_mask)
        codes = self.codebooks.assign(targets)
        seen = [x[mask] for x in self._predictors(trace)]
        logits = torch.stack([head(x).float() for head, x in zip(self.heads, seen, strict=True)])
        loss_sum = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="sum") / len(self.heads)
        if self.training and self.config.codebook_decay < 1:
            self.codebooks.update(targets, codes)
        with torch.no_grad():
            target_perplexity = perplexity(F.one_hot(codes, self.config.codebook_size).float().mean(1))
            prediction_perplexity = perplexity(logits.softmax(-1).mean(1))
        return DinoSROutput(
            loss_sum, codes.shape[1], codes, target_perplexity, prediction_perplexity, seen[-1].detach()
        )

    def _predictors(self, trace: EncoderTrace) -> list[Tensor]:
        if self.config.recipe == "layerwise":
            return trace.ffn[-self.config.codebooks :]
        return [trace.output] * self.config.codebooks

    @torch.no_grad()
    def follow(self) -> float:
        """Count one optimizer step and move the teacher after the student; returns the decay used.

        Transformer layers and the norm before them are averaged; positional convolutions are copied.
        """
        self.updates += 1
        decay = self.config.ema_decay(self.updates)
        if decay < 1:
            for name, ours, students in self._teacher_pairs():
                if name.startswith("pos_conv_embed."):
                    ours.copy_(students)
                else:
                    ours.mul_(decay).add_(students, alpha=1 - decay)
        return decay

    def _teacher_pairs(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        students = dict(self.student.encoder.named_parameters())
        for name, parameter in self.teacher.named_parameters():
            yield name, parameter, students[name]


def perplexity(distribution: Tensor) -> Tensor:
    """2 to the entropy in bits; averaged over processes first. distribution: (codebooks, size)."""
    if dist.is_initialized():
        dist.all_reduce(distribution)
        distribution = distribution / dist.get_world_size()
    return 2 ** -(distribution * (distribution + 1e-8).log2()).sum(-1)


def save_teacher(model: DinoSR, folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a Hugging Face folder that plain transformers loads, with what only DinoSR has beside it.

    `model.safetensors` is the student; `dinosr.safetensors` holds heads, codebooks and the EMA encoder;
    `dinosr.json` the configuration, the updates made and where the model comes from.
    """
    if folder.exists() and not (folder / "dinosr.json").is_file():
        raise StorageError(f"{folder} exists and is not a teacher of ours: choose another name")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    beside = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("student.")}
    described = {
        "config": dataclasses.asdict(model.config),
        "updates": model.updates,
        "provenance": dict(provenance or {}),
    }
    try:
        model.student.save_pretrained(part)
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(part)
        save_file(beside, part / "dinosr.safetensors")
        (part / "dinosr.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(f"could not write the teacher to {folder}: {error}") from error


def load_teacher(folder: Path) -> DinoSR:
    """Undo `save_teacher`, in evaluation mode."""
    try:
        described = json.loads((folder / "dinosr.json").read_text(encoding="utf-8"))
        student = load_file(folder / "model.safetensors")
        state = load_file(folder / "dinosr.safetensors") | {f"student.{k}": v for k, v in student.items()}
        config, updates = described["config"], int(described["updates"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is not a whole DinoSR teacher folder: {error}") from error
    model = DinoSR(build(DinoSRConfig, config, str(folder / "dinosr.json")))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{folder} does not hold the tensors it describes: {error}") from error
    model.updates = updates
    return model.eval()
