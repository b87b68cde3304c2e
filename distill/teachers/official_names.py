"""The authors' parameter names for DinoSR, in ours.

Ours are those of transformers' `Data2VecAudioModel` (same architecture) under `student.`, its encoder
again under `teacher.`, then `heads.*` and `codebooks.*`.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# Applied in order to the part of a name that lies inside the transformer.
_ENCODER = (
    (r"pos_conv\.(\d+)\.0\.", r"pos_conv_embed.layers.\1.conv."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
_OUTSIDE = (
    (r"^feature_extractor\.(conv_layers\.\d+)\.0\.", r"student.feature_extractor.\1.conv."),
    (r"^feature_extractor\.(conv_layers\.\d+)\.2\.1\.", r"student.feature_extractor.\1.layer_norm."),
    (r"^layer_norm\.", "student.feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "student.feature_projection.projection."),
    (r"^mask_emb$", "student.masked_spec_embed"),
)


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def to_ours(state: Mapping[str, Tensor], ema: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a state (`feature_extractor.*`, `encoder.*`, `heads.*`, `_codebook*`) and the EMA encoder."""
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("_"):
            continue
        if name.startswith("encoder."):
            ours["student." + _rename(name, _ENCODER)] = value
        else:
            ours[_rename(name, _OUTSIDE)] = value
    for name, value in ema.items():
        ours["teacher." + _rename(name, _ENCODER)] = value
    count = sum(name.startswith("_codebook_cnts") for name in state)
    ours["codebooks.sums"] = torch.stack([state[f"_codebook{i}"] for i in range(count)])
    ours["codebooks.counts"] = torch.stack([state[f"_codebook_cnts{i}"] for i in range(count)])
    return ours
