"""Importing the authors' DinoSR checkpoint, which fairseq wrote, without fairseq.

The weights decide the model's shape; the configuration beside them adds what no tensor shows (heads,
dropout, decay rates) and is checked for everything that would make it a different model.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earkit.distill.dinosr import FRONT_ENDS, DinoSR, DinoSRConfig, save_teacher
from earkit.distill.teachers.inert_pickle import Inert
from earkit.distill.teachers.official_names import to_ours
from earkit.distill.teachers.torch_archive import TorchArchive
from earkit.runtime.checksum import sha256
from earkit.runtime.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

# What the authors' model must say of itself, where it says anything, to be the model that we have.
_ONLY = {
    "extractor_mode": "layer_norm",
    "conv_bias": False,
    "layer_type": "transformer",
    "layer_norm_first": False,
    "activation_fn": "gelu",
    "discrete": True,
    "instance_norm_target_layer": True,
    "ema_layers_only": True,
    "normalize": True,
    "sample_rate": 16000,
}
# Our names for settings that no tensor shows.
_TAKEN = {
    "heads": "encoder_attention_heads",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "layer_drop": "encoder_layerdrop",
    "codebook_decay": "codebook_end_decay",
    "ema_start": "ema_decay",
    "ema_end": "ema_end_decay",
    "ema_anneal_steps": "ema_anneal_end_step",
    "freeze_step": "freeze_teacher_step",
}


def import_official(file: Path, out: Path) -> DinoSR:
    """Write the authors' checkpoint as a teacher folder, and return the model."""
    out = out.resolve()  # save_teacher needs the folder's own name, which . has not
    if out.exists() and not (out / "dinosr.json").is_file():  # said before a large file is read
        raise ConfigError(f"{out} exists and is not a teacher of ours; give a new folder")
    model = read_official(file)
    save_teacher(model, out, {"file": file.name, "sha256": sha256(file), "layout": "fairseq"})
    return model


def read_official(file: Path) -> DinoSR:
    """Read the authors' checkpoint; nothing in it is executed."""
    with TorchArchive(file) as archive:
        content = archive.content
        model = content.get("model") if isinstance(content, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("_ema"), dict):
            raise CheckpointError(f"{file} holds no DinoSR model: it lacks its part model or model._ema")
        state = _tensors(archive, {name: node for name, node in model.items() if not isinstance(node, dict)})
        ema = _tensors(archive, model["_ema"])
        for name in model.keys() - state.keys() - {"_ema"}:
            logger.warning(
                "%s: %s is left out, a copy that the frozen teacher alone has read from", file, name
            )
    return _build(file, state, ema, _settings(content), _updates(content))


def _tensors(archive: TorchArchive, nodes: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(name): archive.tensor(node, str(name)).float() for name, node in nodes.items()}


def _build(
    file: Path, state: dict[str, Tensor], ema: dict[str, Tensor], settings: Mapping[str, Any], updates: int
) -> DinoSR:
    try:
        config = _config(state, settings)
        ours = to_ours(state, ema)
    except KeyError as error:
        raise CheckpointError(f"{file} is no DinoSR model: it lacks the tensor {error.args[0]}") from error
    except (ConfigError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{file} describes an impossible model: {error}") from error
    ours["codebooks.idle"] = torch.zeros(ours["codebooks.counts"].shape, dtype=torch.int64)
    with torch.device("meta"):  # only shapes: no weight is ever random
        model = DinoSR(config)
    _compare(file, {name: tensor.shape for name, tensor in model.state_dict().items()}, ours)
    model.load_state_dict(ours, assign=True)
    model.updates = updates
    return model.eval()


def _config(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> DinoSRConfig:
    for name, wanted in _ONLY.items():
        if settings.get(name, wanted) != wanted:
            raise ValueError(f"{name} is {settings[name]!r}, only {wanted!r} is supported")
    _check_strides(settings.get("conv_feature_layers"))
    dim = state["post_extract_proj.weight"].shape[0]
    position = state["encoder.pos_conv.0.0.weight"]  # (dim, dim / groups, kernel)
    shape: dict[str, Any] = {
        "depth": _count(state, r"encoder\.layers\.(\d+)\."),
        "dim": dim,
        "ffn_dim": state["encoder.layers.0.fc1.weight"].shape[0],
        "conv_dim": state["feature_extractor.conv_layers.0.0.weight"].shape[0],
        "codebooks": _count(state, r"_codebook(\d+)$"),
        "codebook_size": state["_codebook0"].shape[0],
        "pos_depth": _count(state, r"encoder\.pos_conv\.(\d+)\."),
        "pos_kernel": position.shape[2],
        "pos_groups": dim // position.shape[1],
    }
    for theirs, ours in {"encoder_layers": "depth", "average_top_k_layers": "codebooks"}.items():
        if settings.get(theirs, shape[ours]) != shape[ours]:
            raise ValueError(f"{theirs} is {settings[theirs]!r}, but there are tensors for {shape[ours]}")
    return DinoSRConfig(**shape, **_taken(settings, dim))


def _taken(settings: Mapping[str, Any], dim: int) -> dict[str, Any]:
    taken: dict[str, Any] = {"heads": dim // 64}  # the paper's width of a head, where the file does not say
    for ours, theirs in _TAKEN.items():
        value = settings.get(theirs)
        if isinstance(value, int | float) and value >= 0:
            taken[ours] = value if isinstance(getattr(DinoSRConfig, ours), float) else int(value)
        elif value is not None:
            logger.warning("%s is %r, which has no meaning here; the usual value is taken", theirs, value)
    if taken.get("ema_end") == 1:
        del taken["ema_end"]  # the authors' code overwrites this setting once the teacher is frozen
    return taken


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in state if (match := re.match(pattern, name))})


def _check_strides(layers: object) -> None:
    """Compare the front end, such as `[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 2`, with ours."""
    if not isinstance(layers, str):
        return
    found: list[tuple[int, int]] = []
    for kernel, stride, times in re.findall(
        r"\(\d+,(\d+),(\d+)\)\]?(?:\*(\d\d?)\b)?", layers.replace(" ", "")
    ):
        found += [(int(kernel), int(stride))] * int(times or 1)
    if found != list(zip(*FRONT_ENDS["paper"], strict=True)):
        raise ValueError(f"conv_feature_layers is {layers!r}, only the front end of wav2vec 2.0 is supported")


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings of task and model, whether omegaconf, plain dictionaries or argparse held them."""
    config = _fields(content.get("cfg"))
    parts = (
        [_fields(config.get("task")), _fields(config.get("model"))]
        if config
        else [_fields(content.get("args"))]
    )
    return {str(name): _value(node) for part in parts for name, node in part.items()}


def _fields(node: object) -> dict[Any, Any]:
    state = node.state if isinstance(node, Inert) else node
    if isinstance(state, dict) and isinstance(state.get("_content"), dict):
        state = state["_content"]  # an omegaconf DictConfig
    return state if isinstance(state, dict) else {}


def _value(node: object) -> object:
    if isinstance(node, Inert) and isinstance(node.state, dict) and "_val" in node.state:
        node = node.state["_val"]  # a leaf of omegaconf
    if isinstance(node, Inert) and len(node.args) == 1:
        node = node.args[0]  # an enumeration's member
    return node


def _updates(content: Mapping[str, Any]) -> int:
    match content.get("optimizer_history"):
        case [*_, {"num_updates": int(updates)}] if updates >= 0:
            return updates
    return 0


def _compare(file: Path, wanted: Mapping[str, torch.Size], found: Mapping[str, Tensor]) -> None:
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    for what, names in (("lacks", missing), ("has no use for", surplus)):
        if names:
            raise CheckpointError(
                f"{file} is no DinoSR model: it {what} {len(names)} tensors, first {names[0]}"
            )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise CheckpointError(
                f"{file} has {name} of shape {tuple(found[name].shape)} instead of {tuple(shape)}"
            )
