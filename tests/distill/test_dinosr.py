import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from earkit.distill.dinosr import (
    Codebooks,
    DinoSR,
    DinoSRConfig,
    load_teacher,
    perplexity,
    save_teacher,
    standardise,
)
from earkit.runtime.errors import CheckpointError, ConfigError, StorageError

SMALL = DinoSRConfig(depth=2, dim=32, heads=2, ffn_dim=64, conv_dim=16, codebooks=2, codebook_size=8)


def small(**changes: object) -> DinoSR:
    torch.manual_seed(0)
    return DinoSR(dataclasses.replace(SMALL, **changes))  # type: ignore[arg-type]


def batch(clips: int = 2, samples: int = 8000) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    mask = torch.zeros(clips, SMALL.frames(samples), dtype=torch.bool)
    mask[:, 3:12] = True
    return standardise(torch.randn(clips, samples)), mask


def test_depth_twelve_is_the_papers_base_model() -> None:
    config = DinoSRConfig()
    assert (config.dim, config.heads, config.ffn_dim, config.conv_dim) == (768, 12, 3072, 512)
    assert (config.codebooks, config.codebook_size) == (8, 256)
    encoder = DinoSR(config).student
    # data2vec / HuBERT base have 93 to 95 M parameters; the front end and positions make the difference.
    assert 92e6 < sum(p.numel() for p in encoder.parameters()) < 95e6


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of heads"):
        DinoSRConfig(depth=4, heads=7)
    with pytest.raises(ConfigError, match="layer_drop=0"):
        DinoSRConfig(recipe="layerwise")
    with pytest.raises(ConfigError, match="conv_dim 160"):
        DinoSRConfig(front_end="filterbank", conv_dim=64)
    with pytest.raises(ConfigError, match="codebooks"):
        DinoSRConfig(depth=4, codebooks=5)


@pytest.mark.parametrize("samples", [399, 400, 401, 16000, 37501])
def test_frame_count_is_what_the_front_end_makes(samples: int) -> None:
    if samples < 400:
        assert SMALL.frames(samples) == 0
        return
    assert small().front_end(torch.randn(1, samples)).shape[1] == SMALL.frames(samples)


def test_paper_ema_schedule() -> None:
    config = DinoSRConfig()
    assert config.ema_decay(0) == 0.999
    assert config.ema_decay(15_000) == pytest.approx(0.99945)
    assert config.ema_decay(30_000) == config.ema_decay(200_000) == pytest.approx(0.9999)
    assert config.ema_decay(200_001) == 1.0


def test_layerwise_ema_schedule() -> None:
    config = DinoSRConfig(recipe="layerwise", layer_drop=0.0)
    for step in (0, 1000, 150_000):
        assert config.ema_decay(step) == pytest.approx(1 - 0.001 * math.exp(-step / 20_000), abs=1e-12)


def test_codebook_update_against_a_loop() -> None:
    torch.manual_seed(3)
    books = Codebooks(2, 5, 4, decay=0.9)
    before_sums, before_counts = books.sums.clone(), books.counts.clone()
    targets = torch.randn(2, 7, 4)
    codes = books.assign(targets)
    books.update(targets, codes)
    for b in range(2):
        words = before_sums[b] / before_counts[b][:, None]
        for v in range(5):
            won = [n for n in range(7) if int(torch.cdist(targets[b, n][None], words).argmin()) == v]
            if not won:
                assert torch.equal(books.sums[b, v], before_sums[b, v])
                assert books.idle[b, v] == 1
                continue
            total = sum(targets[b, n] for n in won)
            torch.testing.assert_close(books.sums[b, v], 0.9 * before_sums[b, v] + 0.1 * total)
            assert books.counts[b, v] == pytest.approx(0.9 * 1 + 0.1 * len(won))
            assert books.idle[b, v] == 0


def test_dead_codes_revive_only_when_asked() -> None:
    torch.manual_seed(0)
    for revive_after, dead in ((0, True), (3, False)):
        books = Codebooks(1, 6, 4, decay=0.9, revive_after=revive_after)
        books.sums[0, 5] = 1000.0  # so far off that it never wins
        for _ in range(4):
            targets = torch.randn(1, 50, 4)
            books.update(targets, books.assign(targets))
        assert bool((books.sums[0, 5] == 1000.0).all()) is dead


def test_perplexity_of_known_distributions() -> None:
    flat, sharp = torch.full((8,), 1 / 8), torch.eye(8)[2]
    torch.testing.assert_close(
        perplexity(torch.stack([flat, sharp])), torch.tensor([8.0, 1.0]), atol=1e-4, rtol=0
    )


def test_masked_frames_hide_the_audio_from_the_student_only() -> None:
    """With every frame masked, the loss cannot depend on the audio, but the codes do."""
    model = small().eval()
    audio, mask = batch()
    everything = torch.ones_like(mask)
    one, other = model(audio, everything), model(standardise(audio.flip(1)), everything)
    torch.testing.assert_close(one.frames, other.frames)
    assert not torch.equal(one.codes, other.codes)


@pytest.mark.parametrize("recipe", ["dinosr", "layerwise"])
def test_loss_is_the_mean_cross_entropy_over_codebooks(recipe: str) -> None:
    model = small(recipe=recipe, layer_drop=0.0).eval()
    audio, mask = batch()
    out = model(audio, mask)
    features = model.front_end(audio)
    hidden: list[Tensor] = []
    feeds: list[Tensor] = []
    for layer in model.student.encoder.layers:
        layer.register_forward_hook(lambda _m, _i, o: hidden.append(o[0]))
        layer.feed_forward.register_forward_hook(lambda _m, _i, o: feeds.append(o))
    blind = features.clone()
    blind[mask] = model.student.masked_spec_embed
    last = model.student.encoder(blind).last_hidden_state
    sources = feeds if recipe == "layerwise" else [last, last]
    expected = 0.0
    for head, source, codes in zip(model.heads, sources, out.codes, strict=True):
        for x, code in zip(source[mask], codes, strict=True):
            expected -= head(x).log_softmax(-1)[code].item() / 2
    assert out.loss_sum.item() == pytest.approx(expected, rel=1e-4)


def test_teacher_follows_by_ema_and_copies_positions() -> None:
    model = small()
    before = {n: p.clone() for n, p in model.teacher.named_parameters()}
    with torch.no_grad():
        for p in model.student.encoder.parameters():
            p.add_(1.0)
    decay = model.follow()
    students = dict(model.student.encoder.named_parameters())
    for name, p in model.teacher.named_parameters():
        expected = (
            students[name] if "pos_conv" in name else decay * before[name] + (1 - decay) * students[name]
        )
        torch.testing.assert_close(p, expected)


def test_freezing_stops_teacher_and_front_end() -> None:
    model = small(freeze_step=1).train()
    model.follow()
    audio, mask = batch()
    model(audio, mask).loss_sum.backward()
    assert model.frozen
    front = [*model.student.feature_extractor.parameters(), *model.student.feature_projection.parameters()]
    assert all(p.grad is None for p in front)
    assert any(p.grad is not None for p in model.student.encoder.parameters())
    assert model.follow() == 1.0


def test_teacher_never_drops_out_nor_learns() -> None:
    model = small().train()
    assert not model.teacher.training
    audio, mask = batch()
    model(audio, mask).loss_sum.backward()
    assert all(p.grad is None for p in model.teacher.parameters())


def test_saved_teacher_loads_in_plain_transformers(tmp_path: Path) -> None:
    model = small().eval()
    model.follow()
    save_teacher(model, tmp_path / "teacher", {"run": "x"})
    audio, _ = batch()
    plain = AutoModel.from_pretrained(tmp_path / "teacher").eval()
    with torch.no_grad():
        theirs = plain(audio, output_hidden_states=True).hidden_states
        ours = model.student(audio, output_hidden_states=True).hidden_states
    assert len(theirs) == SMALL.depth + 1
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    again = load_teacher(tmp_path / "teacher")
    assert again.updates == 1
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_incomplete_teacher_folder_is_refused(tmp_path: Path) -> None:
    save_teacher(small(), tmp_path / "teacher")
    (tmp_path / "teacher" / "dinosr.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a whole"):
        load_teacher(tmp_path / "teacher")


def test_unwritable_teacher_folder_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_teacher(small(), tmp_path / "teacher", {"run": "first"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("earkit.distill.dinosr.save_file", full)
    with pytest.raises(StorageError, match="No space left"):
        save_teacher(small(), tmp_path / "teacher", {"run": "second"})
    assert "first" in (tmp_path / "teacher" / "dinosr.json").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["teacher"]


def test_codebooks_stay_in_float32_under_mixed_precision() -> None:
    torch.manual_seed(0)
    books = Codebooks(1, 64, 32, decay=0.9)
    targets = torch.randn(1, 500, 32)
    codes = books.assign(targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(books.assign(targets), codes)
        books.update(targets, codes)
    torch.manual_seed(0)
    other = Codebooks(1, 64, 32, decay=0.9)
    other.update(targets, codes)
    assert torch.equal(books.sums, other.sums)


def test_a_revived_word_is_active_only_when_it_wins() -> None:
    books = Codebooks(1, 4, 8, decay=0.9, revive_after=400)
    targets = torch.randn(1, 3, 8)
    books.update(targets, torch.zeros(1, 3, dtype=torch.int64))  # word 0 takes all, the others are revived
    assert books.active().tolist() == [1]


def test_the_filterbank_starts_out_hearing_bands() -> None:
    """A sine is loudest in the channel of its band, at any phase and whatever the level."""
    model = DinoSR(DinoSRConfig(depth=2, front_end="filterbank")).eval()
    layers = model.student.feature_extractor.conv_layers
    time = torch.arange(16_000) / 16_000
    peaks = []
    for hertz in (300.0, 1000.0, 3000.0):
        for phase in (0.0, 1.0):
            x = standardise(torch.sin(2 * math.pi * hertz * time + phase)[None])[:, None]
            for layer in layers:
                x = layer(x)
            frames = x[0, :40]
            assert frames.std(dim=1).max() < 0.05 * frames.max()  # steady, as the sine is
            peaks.append(int(frames.mean(1).argmax()))
    mel = torch.linspace(math.log(1 + 100 / 700), math.log(1 + 7000 / 700), 40)
    bands = 700 * (mel.exp() - 1)
    for peak, hertz in zip(peaks, (300.0, 300.0, 1000.0, 1000.0, 3000.0, 3000.0), strict=True):
        assert abs(float(bands[peak]) - hertz) < 0.1 * hertz
