"""Teachers of every family: equal to plain transformers on a lone clip, and the same in any batch."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher
from earkit.distill.teachers.huggingface import Teacher, load
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
}
CONV_POS = {"num_conv_pos_embeddings": 32}
LAYER = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
FAMILIES = {
    "wav2vec2-group": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, **CONV_POS)),
    "wav2vec2-layer": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, **CONV_POS, feat_extract_norm="layer")),
    "wav2vec2-stable": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, **CONV_POS, **LAYER)),
    "hubert-group": lambda: HubertModel(HubertConfig(**SMALL, **CONV_POS)),
    "hubert-stable": lambda: HubertModel(HubertConfig(**SMALL, **CONV_POS, **LAYER)),
    "hubert-batch-norm": lambda: HubertModel(HubertConfig(**SMALL, **CONV_POS, conv_pos_batch_norm=True)),
    "wavlm-group": lambda: WavLMModel(WavLMConfig(**SMALL, **CONV_POS)),
    "wavlm-stable": lambda: WavLMModel(WavLMConfig(**SMALL, **CONV_POS, **LAYER)),
    "data2vec": lambda: Data2VecAudioModel(Data2VecAudioConfig(**SMALL, num_conv_pos_embeddings=5)),
}
LENGTHS = (9000, 400, 16_000, 12_345, 9000)
EXACT = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = FAMILIES[request.param]().eval()
    with torch.no_grad():  # biases and norms away from 0 and 1, so that padding could be seen
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("bias", "running_mean")) or ("norm" in name and tensor.is_floating_point()):
                tensor.add_(0.3 * torch.rand_like(tensor))
    path = tmp_path_factory.mktemp("teachers") / request.param
    model.save_pretrained(path)
    return path


def clips(lengths=LENGTHS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    audio = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(audio, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=generator) + 0.02
    return audio, torch.tensor(lengths)


def test_a_lone_clip_is_what_transformers_says(folder: Path) -> None:
    teacher = load(folder)
    audio, lengths = clips((8000,))
    frames = teacher.features(audio, lengths)
    expected = F.layer_norm(audio, (8000,), eps=1e-7) if teacher.epsilon else audio
    with torch.no_grad():
        plain = AutoModel.from_pretrained(folder).eval()(expected, output_hidden_states=True)
    assert list(frames.hidden) == list(range(teacher.layers + 1))
    for k, hidden in frames.hidden.items():
        torch.testing.assert_close(hidden, plain.hidden_states[k], **EXACT)
    assert frames.lengths.tolist() == [hidden.shape[1]]


def test_a_clip_alone_is_the_clip_in_a_batch(folder: Path) -> None:
    teacher = load(folder)
    audio, lengths = clips()
    audio = torch.where(torch.arange(16_000) < lengths.unsqueeze(1), audio, 7.0)  # whatever lies behind
    blocks = (1, 3)
    batch = teacher.features(audio, lengths, ffn=blocks, attention=blocks)
    assert batch.lengths.tolist() == [27, 1, 49, 38, 27]
    for i, length in enumerate(LENGTHS):
        alone = teacher.features(audio[i : i + 1, :length], lengths[i : i + 1], ffn=blocks, attention=blocks)
        n = int(alone.lengths)
        for k, hidden in alone.hidden.items():
            torch.testing.assert_close(batch.hidden[k][i, :n], hidden[0], **EXACT)
            assert not batch.hidden[k][i, n:].any()
        for k in blocks:
            torch.testing.assert_close(batch.ffn[k][i, :n], alone.ffn[k][0], **EXACT)
            for ours, lone in zip(batch.attention[k], alone.attention[k], strict=True):
                assert ours.shape == (len(LENGTHS), 4, 49, 8)
                torch.testing.assert_close(ours[i, :, :n], lone[0], **EXACT)


def test_only_what_is_asked_for(folder: Path) -> None:
    audio, lengths = clips((4000, 5000))
    frames = load(folder).features(audio, lengths, layers=[2], ffn=[3])
    assert (list(frames.hidden), list(frames.ffn), frames.attention, frames.codes) == ([2], [3], {}, None)


@pytest.mark.parametrize("family", ["wav2vec2-group", "data2vec", "hubert-stable"])
def test_queries_keys_and_values_rebuild_the_attention(family: str) -> None:
    teacher = Teacher(family, FAMILIES[family]())
    caught: list[Tensor] = []
    attention = teacher.model.encoder.layers[1].attention
    attention.register_forward_hook(lambda _, _args, output: caught.append(output[0]))
    audio, lengths = clips((7000,))
    query, key, value = teacher.features(audio, lengths, attention=[2]).attention[2]
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.out_proj(mixed), caught[0], **EXACT)


def test_feed_forward_outputs_lie_before_the_residual_sum() -> None:
    teacher = Teacher("data2vec", FAMILIES["data2vec"]())
    audio, lengths = clips((7000,))
    frames = teacher.features(audio, lengths, ffn=[3])
    layer = teacher.model.encoder.layers[2]
    caught: list[Tensor] = []
    layer.final_layer_norm.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    attended: list[Tensor] = []
    layer.layer_norm.register_forward_hook(lambda _, _args, output: attended.append(output))
    teacher.features(audio, lengths)
    torch.testing.assert_close(frames.ffn[3], caught[0] - attended[0], **EXACT)


@pytest.mark.parametrize(("do_normalize", "epsilon"), [(True, 1e-7), (False, None)])
def test_the_folder_says_whether_input_is_standardised(tmp_path: Path, do_normalize, epsilon) -> None:
    FAMILIES["wav2vec2-group"]().save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(tmp_path)
    teacher = load(tmp_path)
    assert teacher.epsilon == epsilon
    audio, lengths = clips((5000, 8000))
    seen: list[Tensor] = []
    teacher.model.feature_extractor.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    teacher.features(audio, lengths)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    for given, length in zip(audio.numpy(), (5000, 8000), strict=True):
        wanted = extractor(given[:length], sampling_rate=16_000, return_tensors="pt").input_values
        (found,) = (x for x in seen if x.shape[1] == length)
        torch.testing.assert_close(found, wanted, **EXACT)


def test_a_fine_tuned_model_serves_without_its_head(tmp_path: Path) -> None:
    Wav2Vec2ForCTC(Wav2Vec2Config(**SMALL, **CONV_POS, vocab_size=20)).save_pretrained(tmp_path)
    assert load(tmp_path).info().family == "wav2vec2"


@pytest.mark.parametrize("recipe", ["dinosr", "layerwise"])
def test_our_own_teacher(tmp_path: Path, recipe) -> None:
    torch.manual_seed(0)
    shape = {"depth": 3, "dim": 32, "heads": 4, "conv_dim": 16, "codebooks": 2, "codebook_size": 8}
    ours = DinoSR(DinoSRConfig(**shape, recipe=recipe, layer_drop=0.0)).eval()
    save_teacher(ours, tmp_path / "t")
    audio, lengths = clips((8000, 6000))

    teacher = load(tmp_path / "t")
    frames = teacher.features(audio, lengths, ffn=[2, 3], codes=True)
    assert (teacher.dim, teacher.layers, teacher.hop, teacher.sample_rate) == (32, 3, 320, 16_000)
    assert (teacher.info().family, teacher.info().codebooks, teacher.info().codebook_size) == ("dinosr", 2, 8)

    standard = F.layer_norm(audio[:1], (8000,))
    with torch.no_grad():
        plain = AutoModel.from_pretrained(tmp_path / "t").eval()(standard, output_hidden_states=True)
    for k, hidden in frames.hidden.items():
        torch.testing.assert_close(hidden[:1], plain.hidden_states[k], **EXACT)

    inputs = [frames.ffn[2], frames.ffn[3]] if recipe == "layerwise" else [frames.hidden[3]] * 2
    assert frames.codes.shape == (2, 2, 24, 8)
    for book, (head, x) in enumerate(zip(ours.heads, inputs, strict=True)):
        logits = x[0] @ head.weight.T + head.bias
        torch.testing.assert_close(frames.codes[book, 0], logits.softmax(-1).log(), **EXACT)


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder: Path, **settings) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def test_folders_that_are_not_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    FAMILIES["wav2vec2-group"]().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    key = "encoder.layers.1.attention.k_proj.weight"

    save_file({k: v for k, v in tensors.items() if k != key}, weights, {"format": "pt"})
    assert f"lacks 1 of the model's tensors, first {key}" in refusal(tmp_path)
    save_file(tensors | {key: torch.zeros(5, 5)}, weights, {"format": "pt"})
    assert f"{key} of another shape than (32, 32)" in refusal(tmp_path)
    save_file(tensors, weights, {"format": "pt"})
    edit(tmp_path, num_hidden_layers=2)
    assert "tensors too many for its config.json, first encoder.layers.2." in refusal(tmp_path)
    edit(tmp_path, num_hidden_layers=3, num_attention_heads=5)
    assert "cannot be loaded as Wav2Vec2Model" in refusal(tmp_path)
    edit(tmp_path, num_attention_heads=4)
    weights.write_bytes(weights.read_bytes()[:5000])
    assert "cannot be loaded as Wav2Vec2Model" in refusal(tmp_path)
    weights.unlink()
    assert "has no weights: none of model.safetensors" in refusal(tmp_path)
    edit(tmp_path, model_type="whisper")
    assert "type whisper" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "has no config.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": ["wav2vec2"]},
        {"hidden_act": "unheard_of"},
        {"num_attention_heads": 0},
        {"num_hidden_layers": "3"},
        {"conv_dim": 5},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"_attn_implementation": "flash_attention_2"},
        {"dtype": "unheard_of"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_mean_nothing_here(tmp_path: Path, settings) -> None:
    FAMILIES["wav2vec2-group"]().save_pretrained(tmp_path)
    edit(tmp_path, **settings)
    assert "model of type" in refusal(tmp_path) or "check its config.json" in refusal(tmp_path)


@pytest.mark.parametrize("rate", ["16k", None, 0, [16_000]])
def test_a_sampling_rate_that_is_none(tmp_path: Path, rate) -> None:
    FAMILIES["wav2vec2-group"]().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": rate}))
    assert "sampling_rate" in refusal(tmp_path)


def test_weights_as_they_were_published(tmp_path: Path) -> None:
    """Older folders: pickled, names under the family's, weight norm by its old names, pretraining heads."""
    model = FAMILIES["wav2vec2-group"]().eval()
    model.save_pretrained(tmp_path)
    audio, lengths = clips((4000,))
    expected = load(tmp_path).features(audio, lengths, [3]).hidden[3]
    (tmp_path / "model.safetensors").unlink()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    old = {"quantizer.codevectors": torch.zeros(3)}
    for name, tensor in model.state_dict().items():
        for new, former in names.items():
            name = name.replace(new, former)  # noqa: PLW2901 - one after the other
        old[f"wav2vec2.{name}"] = tensor
    torch.save(old, tmp_path / "pytorch_model.bin")
    torch.testing.assert_close(load(tmp_path).features(audio, lengths, [3]).hidden[3], expected, **EXACT)


def test_pickled_weights_that_run_code_do_not_run(tmp_path: Path) -> None:
    FAMILIES["wav2vec2-group"]().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"encoder.layer_norm.weight": Hostile()}, tmp_path / "pytorch_model.bin")
    assert "cannot be loaded" in refusal(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_a_teacher_cannot_answer() -> None:
    teacher = Teacher("small", FAMILIES["data2vec"]())
    audio, lengths = clips((4000, 399))
    with pytest.raises(AudioError, match="no frame of a clip of 399 samples"):
        teacher.features(audio, lengths)
    audio, lengths = clips((4000, 5000))
    with pytest.raises(AudioError, match="one length per clip"):
        teacher.features(audio, lengths + 1)
    with pytest.raises(AudioError, match="one length per clip"):
        teacher.features(audio[:0], lengths[:0])
    with pytest.raises(ConfigError, match="layers 0 to 3"):
        teacher.features(audio, lengths, [4])
    with pytest.raises(ConfigError, match="blocks 1 to 3"):
        teacher.features(audio, lengths, ffn=[0])
    with pytest.raises(ConfigError, match="predicts no codes"):
        teacher.features(audio, lengths, codes=True)
