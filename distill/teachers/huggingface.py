"""Audio encoders of the wav2vec 2.0 family, as transformers saves them, as teachers.

wav2vec 2.0, HuBERT, WavLM, data2vec-audio and our own DinoSR share one anatomy: strided convolutions over
raw audio, a projection, positional convolutions, transformer blocks. They are run here so that **a clip's
features do not depend on what it is batched with**, which transformers alone does not promise:

- A group norm in the first convolution averages over the whole clip, padding included, so such a front
  end only ever sees clips of one length at a time.
- Stacked positional convolutions (data2vec, DinoSR), or one behind a batch norm (HuBERT), carry what
  padding became into the last frames of a clip; padded frames are set to zero before each convolution,
  which is what the convolution itself pads a lone clip with. The code that these models were trained
  with leaks there, in padded batches only.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import Data2VecAudioModel, HubertModel, Wav2Vec2Model, WavLMModel

from earkit.distill.dinosr import DinoSRConfig, load_teacher
from earkit.distill.trace import QueryKeyValue
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError

FAMILIES = {
    "wav2vec2": Wav2Vec2Model,
    "hubert": HubertModel,
    "wavlm": WavLMModel,
    "data2vec-audio": Data2VecAudioModel,
}
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Added to the variance of a clip when it is standardised: transformers' value, and the authors' of DinoSR.
EPSILON = 1e-7
DINOSR_EPSILON = 1e-5


# What transformers, torch and safetensors raise over a folder that is not as it should be; ImportError is
# for quantized weights and attention kernels that are not installed.
_LOADING_ERRORS = (
    *(OSError, ImportError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(RuntimeError, SafetensorError, UnpicklingError),
)


@dataclass(frozen=True)
class TeacherFrames:
    """What a teacher made of a batch. Blocks count from 1; padded frames are zero.

    lengths: (batch,) frames that count. hidden: (batch, time, dim) by layer, 0 is the input of the first
    block, k the output of block k as transformers counts it (behind a final norm where the model has
    one). ffn: feed-forward outputs before the residual sum. codes: (codebooks, batch, time, size), log
    probabilities of the clusters that DinoSR predicts. vector: (batch, dim), one for each clip, of an
    embedder that gives nothing finer.
    """

    lengths: Tensor
    hidden: dict[int, Tensor] = field(default_factory=dict)
    ffn: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, QueryKeyValue] = field(default_factory=dict)
    codes: Tensor | None = None
    vector: Tensor | None = None


@dataclass(frozen=True)
class TeacherInfo:
    """What `kit teachers info` says of a teacher."""

    name: str
    family: str
    layers: int
    dim: int
    attention_heads: int
    parameters: int
    sample_rate: int
    hop: int
    """Samples per frame."""
    standardises_input: bool
    codebooks: int
    codebook_size: int


@dataclass
class _Seen:
    """What the hooks of one run caught, by block."""

    ffn: dict[int, Tensor] = field(default_factory=dict)
    attended: dict[int, Tensor] = field(default_factory=dict)


class Teacher:
    """A frozen encoder: audio in, features of any layer out."""

    gives_input = True
    """Whether layer 0, the input of the first block, can be asked for."""

    def __init__(
        self,
        name: str,
        model: Any,  # noqa: ANN401 - transformers publishes no types
        *,
        sample_rate: int = 16_000,
        epsilon: float | None = EPSILON,
    ) -> None:
        """Wrap a transformers model. epsilon: None where the model takes audio as it is."""
        self.name = name
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.config = model.config
        self.sample_rate = sample_rate
        self.epsilon = epsilon
        self.dim = int(self.config.hidden_size)
        self.attention_heads = int(self.config.num_attention_heads)
        self.layers = int(self.config.num_hidden_layers)
        self.hop = math.prod(self.config.conv_stride)
        self.first_centre = _receptive_field(self.config.conv_kernel, self.config.conv_stride) / 2
        self.dinosr: DinoSRConfig | None = None
        self.code_heads = nn.ModuleList()

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        self.model.to(device)
        self.code_heads.to(device)
        return self

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames made of so many samples. (batch,) -> (batch,)."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths.clamp(min=0)

    @torch.no_grad()
    def features(
        self,
        audio: Tensor,
        lengths: Tensor,
        layers: Sequence[int] | None = None,
        *,
        ffn: Sequence[int] = (),
        attention: Sequence[int] = (),
        codes: bool = False,
    ) -> TeacherFrames:
        """Run the teacher. audio: (batch, samples) at `sample_rate`, padded on the right; lengths: (batch,).

        layers: which `hidden` to keep, None is all of them; ffn and attention: blocks to look into.
        """
        layers = range(self.layers + 1) if layers is None else layers
        lengths = lengths.to(audio.device)
        self._check(audio, lengths, layers, (*ffn, *attention), codes=codes)
        audio = self._standardise(audio[:, : int(lengths.max())], lengths)
        projected = self.model.feature_projection(self._front_end(audio, lengths))
        x = projected if isinstance(projected, Tensor) else projected[0]  # (batch, time, dim)
        frame_lengths = self.frame_lengths(lengths)
        valid = torch.arange(x.shape[1], device=x.device) < frame_lengths.unsqueeze(1)  # (batch, time)
        padding = ~valid.unsqueeze(-1)
        predicting = self._predicting_blocks() if codes else ()
        with self._looking_inside(valid, {*ffn, *predicting}, attention) as seen:
            run = self.model.encoder(x, attention_mask=valid, output_hidden_states=True)
        return TeacherFrames(
            lengths=frame_lengths,
            hidden={k: run.hidden_states[k].masked_fill(padding, 0) for k in layers},
            ffn={k: seen.ffn[k].masked_fill(padding, 0) for k in ffn},
            attention={k: self._project(k, seen.attended[k], padding) for k in attention},
            codes=self._codes([seen.ffn[k] for k in predicting], run[0], padding) if codes else None,
        )

    def info(self) -> TeacherInfo:
        """Describe the teacher in figures."""
        return TeacherInfo(
            name=self.name,
            family="dinosr" if self.dinosr else self.config.model_type,
            layers=self.layers,
            dim=self.dim,
            attention_heads=self.attention_heads,
            parameters=sum(p.numel() for p in self.model.parameters()),
            sample_rate=self.sample_rate,
            hop=self.hop,
            standardises_input=self.epsilon is not None,
            codebooks=self.dinosr.codebooks if self.dinosr else 0,
            codebook_size=self.dinosr.codebook_size if self.dinosr else 0,
        )

    def _check(
        self, audio: Tensor, lengths: Tensor, layers: Sequence[int], blocks: Sequence[int], *, codes: bool
    ) -> None:
        fits = audio.ndim == 2 and len(audio) and lengths.shape == audio.shape[:1]
        if not fits or int(lengths.max()) > audio.shape[1]:
            raise AudioError(
                f"{self.name} takes audio as (batch, samples) with one length per clip, not "
                f"{tuple(audio.shape)} with lengths {lengths.tolist()}"
            )
        if int(self.frame_lengths(lengths).min()) < 1:
            raise AudioError(
                f"{self.name} makes no frame of a clip of {int(lengths.min())} samples; leave it out"
            )
        if not set(layers) <= set(range(self.layers + 1)) or not set(blocks) <= set(
            range(1, self.layers + 1)
        ):
            raise ConfigError(f"{self.name} has layers 0 to {self.layers} and blocks 1 to {self.layers}")
        if codes and not self.dinosr:
            raise ConfigError(f"{self.name} predicts no codes, only a DinoSR teacher does")

    def _standardise(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Zero mean and unit variance over a clip's own samples, where the model wants it; silence behind."""
        counted = torch.arange(audio.shape[1], device=audio.device) < lengths.unsqueeze(1)
        audio = audio.masked_fill(~counted, 0)
        if self.epsilon is None:
            return audio
        samples = lengths.unsqueeze(1)
        centred = (audio - audio.sum(1, keepdim=True) / samples).masked_fill(~counted, 0)
        variance = centred.square().sum(1, keepdim=True) / samples
        return centred / (variance + self.epsilon).sqrt()

    def _front_end(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Run the strided convolutions. (batch, samples) -> (batch, time, channels)."""
        convolve = self.model.feature_extractor
        if getattr(self.config, "feat_extract_norm", "layer") != "group":
            return cast("Tensor", convolve(audio).transpose(1, 2))
        time = int(self.frame_lengths(lengths).max())
        frames = audio.new_zeros(len(audio), time, self.config.conv_dim[-1])
        for length in set(lengths.tolist()):
            rows = lengths == length
            made = convolve(audio[rows, :length]).transpose(1, 2)
            frames[rows, : made.shape[1]] = made
        return frames

    @contextmanager
    def _looking_inside(self, valid: Tensor, ffn: Iterable[int], attention: Iterable[int]) -> Iterator[_Seen]:
        """Silence padding inside the positional convolutions, and catch what the blocks pass on."""
        seen = _Seen()
        encoder = self.model.encoder
        channels_first = valid.unsqueeze(1)  # (batch, 1, time)
        with ExitStack() as hooks:
            for module in encoder.pos_conv_embed.modules():
                if isinstance(module, nn.Conv1d):
                    hook = module.register_forward_pre_hook(lambda _, args: (args[0] * channels_first,))
                    hooks.enter_context(hook)
            for k in ffn:
                hooks.enter_context(_catch_output(encoder.layers[k - 1].feed_forward, seen.ffn, k))
            for k in attention:
                hooks.enter_context(_catch_input(encoder.layers[k - 1].attention, seen.attended, k))
            yield seen

    def _project(self, block: int, attended: Tensor, padding: Tensor) -> QueryKeyValue:
        # Computed again from the attention's input: WavLM never calls these projections as modules.
        attention = self.model.encoder.layers[block - 1].attention
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        flat = [project(attended).masked_fill(padding, 0) for project in projections]
        return QueryKeyValue(*(x.unflatten(-1, (self.attention_heads, -1)).transpose(1, 2) for x in flat))

    def _predicting_blocks(self) -> range:
        """Blocks whose feed-forward output predicts one codebook each; none where the last predicts all."""
        if self.dinosr is None or self.dinosr.recipe != "layerwise":
            return range(0)
        return range(self.layers - self.dinosr.codebooks + 1, self.layers + 1)

    def _codes(self, predictors: Sequence[Tensor], output: Tensor, padding: Tensor) -> Tensor:
        seen = predictors or [output] * len(self.code_heads)
        logits = torch.stack([head(x) for head, x in zip(self.code_heads, seen, strict=True)])
        return logits.float().log_softmax(-1).masked_fill(padding, 0)


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    samples, stride = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        samples += (kernel - 1) * stride
        stride *= step
    return samples


def _catch_output(module: nn.Module, into: dict[int, Tensor], key: int) -> RemovableHandle:
    def catch(_: nn.Module, _args: object, output: Tensor) -> None:
        into[key] = output

    return module.register_forward_hook(catch)


def _catch_input(module: nn.Module, into: dict[int, Tensor], key: int) -> RemovableHandle:
    def catch(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        into[key] = args[0]

    return module.register_forward_pre_hook(catch)


def load(folder: Path, name: str | None = None) -> Teacher:
    """Load a Hugging Face folder from disk, ours or not; nothing is fetched and no code in it is run."""
    settings = _read_json(folder / "config.json")
    family = settings.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise CheckpointError(
            f"{folder} holds a model of type {family}, which is no teacher; known are {', '.join(FAMILIES)}"
        )
    name = name or folder.name
    if (folder / "dinosr.json").is_file():
        dinosr = load_teacher(folder)
        teacher = Teacher(name, dinosr.student, epsilon=DINOSR_EPSILON)
        teacher.dinosr = dinosr.config
        teacher.code_heads = dinosr.heads.requires_grad_(requires_grad=False)
        return teacher
    file = folder / "preprocessor_config.json"
    preprocessing = _read_json(file) if file.is_file() else {}
    sample_rate = preprocessing.get("sampling_rate", 16_000)
    if not isinstance(sample_rate, int) or sample_rate < 1:
        raise CheckpointError(f"{file} has a sampling_rate of {sample_rate!r}, not samples per second")
    # The family's own training: clips are standardised for layer-norm front ends alone.
    standardised = preprocessing.get("do_normalize", settings.get("feat_extract_norm", "layer") == "layer")
    return Teacher(
        name,
        _load_model(folder, FAMILIES[family]),
        sample_rate=sample_rate,
        epsilon=EPSILON if standardised else None,
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{file.parent} is no model folder: it has no {file.name}; give one that save_pretrained wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds no settings")
    return content


def _load_model(folder: Path, kind: Any) -> Any:  # noqa: ANN401 - transformers' own
    if not any((folder / weights).is_file() for weights in WEIGHTS):
        raise CheckpointError(f"{folder} has no weights: none of {', '.join(WEIGHTS)} is there")
    try:
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # to be refused below, in one sentence
            output_loading_info=True,
        )
    except _LOADING_ERRORS as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(
            f"{folder} cannot be loaded as {kind.__name__}, check its config.json and weights: {reason}"
        ) from error
    _refuse_incomplete(folder, model, report)
    return model


def _refuse_incomplete(folder: Path, model: Any, report: dict[str, Any]) -> None:  # noqa: ANN401 - transformers' own
    """Refuse what transformers would fill up with random numbers or leave out: a teacher is whole."""
    missing = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})  # the mask is for training alone
    if missing:
        raise CheckpointError(f"{folder} lacks {len(missing)} of the model's tensors, first {missing[0]}")
    for entry in report["mismatched_keys"]:
        name = entry if isinstance(entry, str) else entry[0]  # transformers' versions differ
        shape = tuple(model.state_dict()[name].shape)
        raise CheckpointError(
            f"{folder} has {name} of another shape than {shape}, which its config.json asks for"
        )
    # Heads for other tasks may stay unused, but not parts of the encoder itself.
    inside = tuple(f"{part}." for part, _ in model.named_children() if part != "adapter")
    surplus = [
        k
        for k in report["unexpected_keys"]
        if k.removeprefix(f"{model.base_model_prefix}.").startswith(inside)
    ]
    if surplus:
        raise CheckpointError(
            f"{folder} has {len(surplus)} tensors too many for its config.json, first {surplus[0]}"
        )
