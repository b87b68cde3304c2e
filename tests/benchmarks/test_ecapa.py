"""ECAPA-TDNN as ONNX against the same network in torch, with few channels and random weights."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.benchmarks.ecapa import convert, ecapa
from earkit.runtime.errors import CheckpointError

CHANNELS, WIDE, SQUEEZED, ATTENTION, DIM, BANDS = 16, 24, 6, 5, 7, 10


def conv(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.ModuleDict:
    padding = dilation * (kernel - 1) // 2
    made = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=padding, padding_mode="reflect")
    return nn.ModuleDict({"conv": made})


def norm(channels: int) -> nn.ModuleDict:
    return nn.ModuleDict({"norm": nn.BatchNorm1d(channels)})


def tdnn(*sizes: int) -> nn.ModuleDict:
    return nn.ModuleDict({"conv": conv(*sizes), "norm": norm(sizes[1])})


def run(block: nn.ModuleDict, x: Tensor) -> Tensor:
    return block["norm"]["norm"](F.relu(block["conv"]["conv"](x)))


def block(dilation: int) -> nn.ModuleDict:
    part = CHANNELS // 8
    return nn.ModuleDict(
        {
            "tdnn1": tdnn(CHANNELS, CHANNELS),
            "res2net_block": nn.ModuleDict(
                {"blocks": nn.ModuleList(tdnn(part, part, 3, dilation) for _ in range(7))}
            ),
            "tdnn2": tdnn(CHANNELS, CHANNELS),
            "se_block": nn.ModuleDict({"conv1": conv(CHANNELS, SQUEEZED), "conv2": conv(SQUEEZED, CHANNELS)}),
        }
    )


def reference() -> nn.ModuleDict:
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {
            "blocks": nn.ModuleList([tdnn(BANDS, CHANNELS, 5), block(2), block(3), block(4)]),
            "mfa": tdnn(3 * CHANNELS, WIDE),
            "asp": nn.ModuleDict({"tdnn": tdnn(3 * WIDE, ATTENTION), "conv": conv(ATTENTION, WIDE)}),
            "asp_bn": norm(2 * WIDE),
            "fc": conv(2 * WIDE, DIM),
        }
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_()
    return net.eval()


def se_res2net(net: nn.ModuleDict, x: Tensor) -> Tensor:
    parts = run(net["tdnn1"], x).chunk(8, dim=1)
    made = [parts[0]]
    for k in range(1, 8):
        fed = parts[k] if k == 1 else parts[k] + made[-1]
        made.append(run(net["res2net_block"]["blocks"][k - 1], fed))
    y = run(net["tdnn2"], torch.cat(made, dim=1))
    gate = F.relu(net["se_block"]["conv1"]["conv"](y.mean(2, keepdim=True)))
    return torch.sigmoid(net["se_block"]["conv2"]["conv"](gate)) * y + x


def forward(net: nn.ModuleDict, features: Tensor) -> Tensor:
    x = run(net["blocks"][0], features.transpose(1, 2))
    outputs = []
    for k in (1, 2, 3):
        x = se_res2net(net["blocks"][k], x)
        outputs.append(x)
    x = run(net["mfa"], torch.cat(outputs, dim=1))
    around = [s.expand_as(x) for s in (x.mean(2, keepdim=True), x.std(2, correction=0, keepdim=True))]
    scores = net["asp"]["conv"]["conv"](torch.tanh(run(net["asp"]["tdnn"], torch.cat([x, *around], dim=1))))
    weights = scores.softmax(2)
    mean = (weights * x).sum(2)
    deviation = ((weights * (x - mean.unsqueeze(2)) ** 2).sum(2)).sqrt()
    pooled = net["asp_bn"]["norm"](torch.cat([mean, deviation], dim=1))
    return net["fc"]["conv"](pooled.unsqueeze(2)).squeeze(2)


@pytest.mark.parametrize("time", [5, 23])
def test_the_graph_computes_the_network(time):
    net = reference()
    model = ecapa({name: tensor.numpy() for name, tensor in net.state_dict().items()})
    onnx.checker.check_model(model, full_check=True)
    features = 3 * torch.randn(2, time, BANDS)
    made = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"features": features.numpy()})[
        0
    ]
    with torch.no_grad():
        np.testing.assert_allclose(made, forward(net, features), rtol=1e-4, atol=1e-4)


def test_a_checkpoint_is_converted(tmp_path):
    torch.save(reference().state_dict(), tmp_path / "e.ckpt")
    convert(tmp_path / "e.ckpt", tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    features = np.ones((1, 9, BANDS), np.float32)
    assert session.run(["embedding"], {"features": features})[0].shape == (1, DIM)


def test_another_checkpoint_is_refused(tmp_path):
    state = reference().state_dict()
    del state["mfa.conv.conv.bias"]
    torch.save(state, tmp_path / "e.ckpt")
    with pytest.raises(CheckpointError, match=r"no ECAPA-TDNN: it lacks mfa\.conv\.conv\.bias"):
        convert(tmp_path / "e.ckpt", tmp_path / "e.onnx")
    assert not (tmp_path / "e.onnx").exists()
    torch.save([1], tmp_path / "e.ckpt")
    with pytest.raises(CheckpointError, match="holds no state"):
        convert(tmp_path / "e.ckpt", tmp_path / "e.onnx")
