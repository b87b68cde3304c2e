"""DinoSR against numeric traces of the authors' own implementation (see tests/data/golden/README.md)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from earkit.distill.dinosr import DinoSR, DinoSRConfig, encode
from earkit.distill.teachers.official_names import to_ours

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
LAYERS = {"rtol": 0.0, "atol": 1e-5}
REST = {"rtol": 0.0, "atol": 1e-4}


class Trace:
    def __init__(self, name: str) -> None:
        folder = GOLDEN / name
        self.tensors = load_file(folder / "trace.safetensors")
        self.json: dict[str, Any] = json.loads((folder / "trace.json").read_text())
        self.steps: list[dict[str, float]] = self.json["steps"]

    def part(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def config(self) -> DinoSRConfig:
        c = self.json["config"]
        return DinoSRConfig(
            depth=c["encoder_layers"],
            dim=c["encoder_embed_dim"],
            heads=c["encoder_attention_heads"],
            ffn_dim=c["encoder_ffn_embed_dim"],
            conv_dim=32,
            codebooks=c["average_top_k_layers"],
            codebook_size=c["codebook_size"],
            dropout=c["dropout"],
            attention_dropout=c["attention_dropout"],
            layer_drop=c["encoder_layerdrop"],
            codebook_decay=c["codebook_init_decay"],
            ema_start=c["ema_decay"],
            ema_end=c["ema_end_decay"],
            ema_anneal_steps=c["ema_anneal_end_step"],
            freeze_step=c["freeze_teacher_step"],
        )

    def model(self) -> DinoSR:
        model = DinoSR(self.config())
        init = self.part("init/")
        encoder = {k.removeprefix("encoder."): v for k, v in init.items() if k.startswith("encoder.")}
        missing, unexpected = model.load_state_dict(to_ours(init, encoder), strict=False)
        assert missing == ["codebooks.idle"]
        assert unexpected == []
        return model


@pytest.fixture(params=["dinosr_unpadded", "dinosr_padded"])
def trace(request: pytest.FixtureRequest) -> Trace:
    return Trace(request.param)


def frame_mask(trace: Trace, step: int) -> Tensor | None:
    audio, lengths = trace.tensors[f"step{step}/audio"], trace.tensors[f"step{step}/lengths"]
    if bool((lengths == audio.shape[1]).all()):
        return None
    count = trace.config().frames
    frames = torch.tensor([count(int(n)) for n in lengths])
    return torch.arange(count(audio.shape[1])) < frames.unsqueeze(1)


def test_layer_outputs(trace: Trace) -> None:
    model = trace.model().eval()
    valid = frame_mask(trace, 0)
    with torch.no_grad():
        run = encode(model.student.encoder, model.front_end(trace.tensors["step0/audio"]), valid)
    keep = torch.ones(run.output.shape[:2], dtype=torch.bool) if valid is None else valid
    torch.testing.assert_close(
        run.output[keep], trace.tensors["step0/student_unmasked_output"][keep], **LAYERS
    )
    for i in range(model.config.depth):
        golden = trace.tensors[f"step0/student_unmasked_layer{i}_output"]
        torch.testing.assert_close(run.layers[i][keep], golden[keep], **LAYERS)
        golden = trace.tensors[f"step0/student_unmasked_layer{i}_ffn"]
        torch.testing.assert_close(run.ffn[i][keep], golden[keep], **LAYERS)


def test_every_training_step(trace: Trace) -> None:
    model = trace.model().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, golden in enumerate(trace.steps):
        mask = trace.tensors[f"step{step}/mask"]
        out = model(trace.tensors[f"step{step}/audio"], mask, frame_mask(trace, step))
        assert out.masked == golden["masked_frames"]
        loss = out.loss_sum / out.masked
        assert loss.item() == pytest.approx(golden["loss_mean"], abs=1e-4)
        assert out.target_perplexity.mean().item() == pytest.approx(golden["target_ppl"], abs=1e-4)
        assert out.prediction_perplexity.mean().item() == pytest.approx(golden["pred_ppl"], abs=1e-4)
        assert model.config.ema_decay(step) == pytest.approx(golden["ema_decay"], abs=1e-7)
        for i in range(model.config.codebooks):
            assert torch.equal(out.codes[i], trace.tensors[f"step{step}/codes{i}"])
            sums, counts = (trace.tensors[f"step{step}/codebook{i}_{x}"] for x in ("sum", "count"))
            torch.testing.assert_close(model.codebooks.sums[i], sums, **REST)
            torch.testing.assert_close(model.codebooks.counts[i], counts, **REST)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            check_gradients(trace, model)
        optimizer.step()
        model.follow()
    final = to_ours(trace.part("final/"), trace.part("final_ema/"))
    ours = model.state_dict()
    for name, value in final.items():
        torch.testing.assert_close(ours[name], value, msg=lambda m, n=name: f"{n}: {m}", **REST)
    for name, value in trace.part("final_teacher/").items():
        torch.testing.assert_close(trace.part("final_ema/").get(name, value), value, **REST)


def check_gradients(trace: Trace, model: DinoSR) -> None:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    golden = trace.part("step0/grad/")
    assert len(golden) >= 5
    codebooks = {name: v for name, v in trace.part("init/").items() if name.startswith("_codebook")}
    for name, value in to_ours(codebooks | golden, {}).items():
        if not name.startswith("codebooks."):
            torch.testing.assert_close(gradients[name], value, msg=lambda m, n=name: f"{n}: {m}", **REST)
