"""The graph against the authors' way, in torch and loops, with few channels and random weights."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from earkit.benchmarks.resemblyzer import convert, resemblyzer
from earkit.runtime.errors import CheckpointError

HIDDEN, DIM = 12, 7


def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"lstm": nn.LSTM(40, HIDDEN, 3, batch_first=True), "linear": nn.Linear(HIDDEN, DIM)}
    ).eval()


def state(net: nn.ModuleDict) -> dict[str, torch.Tensor]:
    return {"similarity_weight": torch.ones(1), **net.state_dict()}


def mel_filters() -> np.ndarray:
    """Slaney's scale point by point: 15 mel are 1 kHz, below it is linear. (40, 201)."""

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * math.log(8) / math.log(6.4)  # 8 kHz
    corners = [hertz(top * k / 41) for k in range(42)]
    made = np.zeros((40, 201))
    for band, (low, centre, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        for k in range(201):
            at = 40.0 * k
            slope = min((at - low) / (centre - low), (high - at) / (high - centre))
            made[band, k] = max(0.0, slope) * 2 / (high - low)
    return made


def mel(samples: np.ndarray) -> np.ndarray:
    """`librosa.feature.melspectrogram` with 25 ms windows every 10 ms. -> (time, 40)."""
    spectrum = torch.stft(
        torch.from_numpy(samples).double(),
        400,
        160,
        window=torch.hann_window(400, dtype=torch.float64),
        pad_mode="constant",
        return_complex=True,
    )
    return (mel_filters() @ spectrum.abs().square().numpy()).T


def starts(samples: int) -> list[int]:
    """`compute_partial_slices` of the authors, at their 1.3 windows a second: first frames."""
    count = math.ceil((samples + 1) / 160)
    found = list(range(0, max(1, count - 160 + 77 + 1), 77))
    if len(found) > 1 and (samples - found[-1] * 160) / (160 * 160) < 0.75:
        found.pop()
    return found


def reference(net: nn.ModuleDict, samples: np.ndarray) -> np.ndarray:
    loudness = math.sqrt(np.mean(samples.astype(np.float64) ** 2))
    samples = samples * max(1.0, 10 ** (-30 / 20) / loudness)
    firsts = starts(len(samples))
    over = max(0, (firsts[-1] + 160) * 160 - len(samples))
    frames = mel(np.pad(samples, (0, over)))
    vectors = []
    for first in firsts:
        window = torch.from_numpy(frames[first : first + 160]).float()[None]
        with torch.no_grad():
            _, (last, _) = net["lstm"](window)
            vector = torch.relu(net["linear"](last[-1]))[0]
        vectors.append((vector / vector.norm()).numpy())
    mean = np.mean(vectors, axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("level", [1e-4, 0.3])
@pytest.mark.parametrize("samples", [1280, 19_200, 31_519, 31_520, 60_001])
def test_the_graph_computes_what_the_authors_do(samples: int, level: float) -> None:
    net = network()
    model = resemblyzer({name: tensor.numpy() for name, tensor in net.state_dict().items()})
    onnx.checker.check_model(model, full_check=True)
    noise = np.random.default_rng(samples).standard_normal(samples) * np.linspace(0.2, 1, samples)
    audio = (level * noise).astype(np.float32)
    (made,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"audio": audio[None]})
    np.testing.assert_allclose(made[0], reference(net, audio), atol=2e-5)


def test_windows_differ() -> None:
    """Else nothing of the mean over windows would be seen above."""
    assert [len(starts(n)) for n in (1280, 19_200, 31_519, 31_520, 60_001)] == [1, 1, 1, 2, 4]


def test_silence_is_no_error() -> None:
    model = resemblyzer({name: tensor.numpy() for name, tensor in network().state_dict().items()})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (made,) = session.run(None, {"audio": np.zeros((1, 16_000), np.float32)})
    assert np.isfinite(made).all()


@pytest.mark.parametrize("old_format", [True, False])
def test_a_checkpoint_is_converted(tmp_path, old_format: bool) -> None:
    torch.save(
        {"step": 1, "model_state": state(network()), "optimizer_state": {}},
        tmp_path / "e.pt",
        _use_new_zipfile_serialization=not old_format,
    )
    convert(tmp_path / "e.pt", tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    (made,) = session.run(["embedding"], {"audio": np.ones((1, 16_000), np.float32)})
    assert made.shape == (1, DIM)
    assert np.linalg.norm(made) == pytest.approx(1)


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, capsys) -> None:
    torch.save({"model_state": state(network()), "x": Evil()}, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match=r"e\.pt is no speaker encoder of Resemblyzer"):
        convert(tmp_path / "e.pt", tmp_path / "e.onnx")
    assert "executed" not in capsys.readouterr().out
    assert not (tmp_path / "e.onnx").exists()


@pytest.mark.parametrize("content", [{"model_state": {}}, {}, [1]])
def test_another_checkpoint_is_refused(tmp_path, content) -> None:
    torch.save(content, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match="fetch it again"):
        convert(tmp_path / "e.pt", tmp_path / "e.onnx")
