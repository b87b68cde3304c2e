"""optimum's own exporter takes a teacher that we saved, as it is (`optimum-cli export onnx`)."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from optimum.exporters.onnx import main_export
from transformers import AutoModel

from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher


@pytest.mark.filterwarnings("ignore")
def test_it_gives_what_the_teacher_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = DinoSRConfig(
        depth=2, dim=32, heads=2, ffn_dim=64, conv_dim=16, codebooks=1, codebook_size=8, pos_groups=2
    )
    save_teacher(DinoSR(small), tmp_path / "teacher")
    main_export(str(tmp_path / "teacher"), tmp_path / "onnx", task="feature-extraction")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    model = AutoModel.from_pretrained(tmp_path / "teacher").eval()
    rng = np.random.default_rng(0)
    for shape in ((1, 16_000), (3, 9_137)):
        audio = rng.standard_normal(shape).astype(np.float32)
        (given,) = session.run(["last_hidden_state"], {"input_values": audio})
        with torch.inference_mode():
            wanted = model(torch.from_numpy(audio)).last_hidden_state
        np.testing.assert_allclose(given, wanted, atol=1e-4)
