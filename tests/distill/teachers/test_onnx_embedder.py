"""ONNX teachers of every shape, on graphs of a few weights, against the same arithmetic in NumPy."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import soxr
import torch
from onnx import TensorProto, helper, numpy_helper

from earkit.distill.teachers.mel_front_ends import speechbrain_fbank, whisper_log_mel
from earkit.distill.teachers.onnx_embedder import Embedder, load_onnx
from earkit.distill.teachers.resolve import DESCRIBED
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError

KERNEL, STRIDE, DIM = 40, 20, 3
RNG = np.random.default_rng(0)
FILTERS = RNG.normal(size=(DIM, KERNEL)).astype(np.float32)
MIX = RNG.normal(size=(3 * DIM, 5)).astype(np.float32)  # windows of 3 frames to 5 dims
ENCODER = f"""
dim = {DIM}
hop = {STRIDE}
span = {KERNEL}
first_centre = 20
[[graphs]]
file = "encoder.onnx"
input = "audio"
output = "frames"
shape = [1, -1]
"""


def write(path: Path, nodes, inputs, outputs, constants) -> Path:
    """Save a graph; inputs and outputs are name -> shape."""
    infos = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in side.items()]
        for side in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", *infos, initializers)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def write_encoder(path: Path) -> Path:
    nodes = [
        helper.make_node("Unsqueeze", ["audio", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "filters"], ["convolved"], strides=[STRIDE]),
        helper.make_node("Transpose", ["convolved"], ["frames"], perm=[0, 2, 1]),
    ]
    constants = {"axis": np.array([1]), "filters": FILTERS[:, None]}
    return write(path, nodes, {"audio": [1, "samples"]}, {"frames": [1, "time", DIM]}, constants)


def encode(audio: np.ndarray) -> np.ndarray:
    starts = range(0, len(audio) - KERNEL + 1, STRIDE)
    return np.stack([FILTERS @ audio[start : start + KERNEL] for start in starts])


def clip(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def batch(*clips: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad with a constant that must not be seen."""
    audio = torch.full((len(clips), max(map(len, clips)) + 7), 9.0)
    for row, samples in zip(audio, clips, strict=True):
        row[: len(samples)] = torch.from_numpy(samples)
    return audio, torch.tensor([len(samples) for samples in clips])


def describe(folder: Path, text: str) -> Path:
    path = folder / "embedder.toml"
    path.write_text(text)
    return path


@pytest.fixture
def encoder(tmp_path) -> Path:
    write_encoder(tmp_path / "encoder.onnx")
    return describe(tmp_path, ENCODER)


def test_frames_of_raw_audio_are_those_of_each_clip_alone(encoder):
    teacher = load_onnx(encoder, "conv")
    clips = [clip(205), clip(40, 1), clip(999, 2)]
    audio, lengths = batch(*clips)
    made = teacher.features(audio, lengths)
    assert made.lengths.tolist() == teacher.frame_lengths(lengths).tolist() == [9, 1, 48]
    assert made.hidden.keys() == {1}
    assert made.hidden[1].shape == (3, 48, DIM)
    for frames, samples, n in zip(made.hidden[1], clips, made.lengths, strict=True):
        np.testing.assert_allclose(frames[:n], encode(samples), atol=1e-5)
        assert frames[n:].abs().sum() == 0
    assert made.vector is None
    assert (teacher.dim, teacher.layers, teacher.hop, teacher.first_centre) == (3, 1, 20.0, 20.0)
    assert teacher.info().family == "onnx"
    assert teacher.info().hop == 20
    assert teacher.to("cpu") is teacher


def test_time_shift_moves_frames_by_the_hop(encoder):
    teacher = load_onnx(encoder)
    samples = clip(500)
    audio, lengths = batch(samples[: 500 - 3 * STRIDE], samples[3 * STRIDE :])
    first, later = teacher.features(audio, lengths).hidden[1]
    torch.testing.assert_close(first[3:], later[:-3])


def test_scale_and_pad(encoder):
    text = "scale = 32768\npad = [30, 15]\n" + ENCODER
    teacher = load_onnx(describe(encoder.parent, text))
    samples = clip(95)
    made = teacher.features(*batch(samples)).hidden[1][0]
    np.testing.assert_allclose(made, encode(np.pad(samples * 32768, (30, 15))), rtol=1e-4, atol=0.5)
    assert len(made) == 6


def test_a_model_of_another_rate_gets_its_rate(encoder):
    teacher = load_onnx(describe(encoder.parent, "sample_rate = 8000\n" + ENCODER))
    samples = clip(1001)
    made = teacher.features(*batch(samples))
    resampled = soxr.resample(samples, 16_000, 8000, quality="HQ")
    np.testing.assert_allclose(made.hidden[1][0], encode(resampled), atol=1e-5)
    assert made.lengths.tolist() == [24]  # (501 - 40) // 20 + 1
    assert (teacher.hop, teacher.first_centre) == (40.0, 40.0)  # in samples of 16 kHz


def test_a_fractional_hop_counts_as_its_chunks_do(tmp_path):
    # 12.5 samples per frame: chunks of 25 become two frames, the halves' means
    nodes = [
        helper.make_node("Reshape", ["audio", "shape"], ["halves"]),
        helper.make_node("ReduceMean", ["halves"], ["frames"], axes=[1], keepdims=1),
    ]
    write(
        tmp_path / "encoder.onnx", nodes, {"audio": [1, 50]}, {"frames": [2, 1]}, {"shape": np.array([2, 25])}
    )
    text = 'dim = 1\nhop = 12.5\nspan = 12\nchunk = 25\n[[graphs]]\nfile = "encoder.onnx"\ninput = "audio"\n'
    teacher = load_onnx(describe(tmp_path, text + 'output = "frames"\nshape = [1, 25]\n'))
    assert teacher.frame_lengths(torch.tensor([11, 12, 24, 25, 37, 62])).tolist() == [0, 1, 1, 2, 3, 5]


def test_a_fixed_window_is_filled_up_and_its_frames_cropped(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["audio", "shape"], ["cut"]),
        helper.make_node("MatMul", ["cut", "filters"], ["frames"]),
    ]
    filters = FILTERS[:, :STRIDE].T.copy()
    constants = {"shape": np.array([1, -1, STRIDE]), "filters": filters}
    write(tmp_path / "encoder.onnx", nodes, {"audio": [1, 420]}, {"frames": [1, 21, DIM]}, constants)
    text = ENCODER.replace("span = 40", "span = 1").replace("[1, -1]", "[1, 420]")
    clips = [clip(5), clip(950), clip(420)]
    made = load_onnx(describe(tmp_path, "chunk = 420\n" + text)).features(*batch(*clips))
    assert made.lengths.tolist() == [1, 48, 21]  # ceil(samples / 20)
    for frames, samples, n in zip(made.hidden[1], clips, made.lengths, strict=True):
        filled = np.pad(samples, (0, n * STRIDE - len(samples))).reshape(-1, STRIDE)
        np.testing.assert_allclose(frames[:n], filled @ filters, atol=1e-5)


def write_chain(folder: Path) -> Path:
    write_encoder(folder / "encoder.onnx")
    nodes = [
        helper.make_node("Flatten", ["windows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["mixed"]),
        helper.make_node("Unsqueeze", ["mixed", "axes"], ["embedding"]),
    ]
    inputs, outputs = {"windows": ["n", 3, DIM, 1]}, {"embedding": ["n", 1, 1, 5]}
    write(folder / "second.onnx", nodes, inputs, outputs, {"mix": MIX, "axes": np.array([1, 2])})
    text = ENCODER.replace("dim = 3", "dim = 5").replace("hop = 20", "hop = 40")
    text = text.replace("span = 40", "span = 80") + "multiply = 0.1\nadd = 2\n"
    second = '[[graphs]]\nfile = "second.onnx"\ninput = "windows"\noutput = "embedding"\n'
    return describe(folder, f"{text}{second}shape = [-1, 3, 3, 1]\nwindows = {{size = 3, hop = 2}}\n")


def test_a_chain_of_graphs_with_windows(tmp_path):
    teacher = load_onnx(write_chain(tmp_path))
    clips = [clip(300), clip(80, 1)]
    made = teacher.features(*batch(*clips))
    assert made.lengths.tolist() == [6, 1]
    for frames, samples, n in zip(made.hidden[1], clips, made.lengths, strict=True):
        first = encode(samples) * 0.1 + 2
        expected = [first[k : k + 3].ravel() @ MIX for k in range(0, len(first) - 2, 2)]
        np.testing.assert_allclose(frames[:n], expected, atol=1e-4)


def test_one_vector_per_clip(tmp_path):
    nodes = [helper.make_node("ReduceMean", ["features"], ["vector"], axes=[1], keepdims=0)]
    write(tmp_path / "m.onnx", nodes, {"features": [1, "time", 1]}, {"vector": [1, 1]}, {})
    text = 'dim = 1\nvector = true\nspan = 10\n[[graphs]]\nfile = "m.onnx"\ninput = "features"\n'
    teacher = load_onnx(describe(tmp_path, text + 'output = "vector"\nshape = [1, -1, 1]\n'))
    clips = [clip(50), clip(333, 1)]
    audio, lengths = batch(*clips)
    made = teacher.features(audio, lengths)
    np.testing.assert_allclose(made.vector[:, 0], [samples.mean() for samples in clips], atol=1e-6)
    assert made.hidden == {}
    assert made.lengths.tolist() == teacher.frame_lengths(lengths).tolist() == [0, 0]
    assert (teacher.layers, teacher.hop) == (0, 0.0)
    with pytest.raises(AudioError, match="clip of 9 samples"):
        teacher.features(*batch(clip(9)))


def write_mel_reader(folder: Path, kind: str, perm: list[int], shape: list[int], more: str) -> Path:
    nodes = [helper.make_node("Transpose", ["mel"], ["out"], perm=perm)]
    write(folder / "m.onnx", nodes, {"mel": ["a", "b", "c"]}, {"out": ["d", "e", "f"]}, {})
    graph = f'[[graphs]]\nfile = "m.onnx"\ninput = "mel"\noutput = "out"\nshape = {shape}\n'
    return describe(folder, f'dim = 80\nhop = 160\nfeatures = "{kind}"\n{more}\n{graph}')


def test_fbank_goes_in_as_the_front_end_makes_it(tmp_path):
    path = write_mel_reader(tmp_path, "speechbrain_fbank", [0, 1, 2], [1, -1, 80], "span = 0")
    samples = clip(1700)
    made = load_onnx(path).features(*batch(samples, clip(1000, 1)))
    np.testing.assert_array_equal(made.hidden[1][0], speechbrain_fbank(samples))
    assert made.lengths.tolist() == [11, 7]


def test_log_mel_of_a_fixed_window_goes_in_as_the_front_end_makes_it(tmp_path):
    path = write_mel_reader(tmp_path, "whisper_log_mel", [0, 2, 1], [1, 80, 30], "span = 1\nchunk = 4800")
    samples = clip(1700)
    made = load_onnx(path).features(*batch(samples)).hidden[1][0]
    np.testing.assert_array_equal(made, whisper_log_mel(np.pad(samples, (0, 3100))).T[:11])


@pytest.mark.parametrize("path", sorted(DESCRIBED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_descriptions_only_lack_their_models(path):
    with pytest.raises(CheckpointError, match="lacks the model file"):
        load_onnx(path)


def test_shipped_descriptions():
    whisper = {f"whisper_{size}" for size in ("tiny", "base", "small")}
    others = {"ecapa", "moonshine", "resemblyzer", "speech_embedding"}
    assert {path.stem for path in DESCRIBED.glob("*.toml")} == whisper | others


@pytest.mark.parametrize(
    ("before", "after", "error", "said"),
    [
        ("dim = 3", "dim = 3\nhopp = 2", ConfigError, "unknown key hopp; did you mean hop"),
        ("span = 40\n", "", ConfigError, "span is missing"),
        ('file = "encoder.onnx"\n', "", ConfigError, "file is missing"),
        ("hop = 20", "hop = 20\nvector = true", ConfigError, "either a hop"),
        ("hop = 20\n", "", ConfigError, "either a hop"),
        ("hop = 20", "hop = 20\nchunk = 30", ConfigError, "whole number of hops"),
        ("dim = 3", "dim = 0", ConfigError, "above 0"),
        ("dim = 3", 'dim = 3\nsample_rate = 8000\nfeatures = "whisper_log_mel"', ConfigError, "16000 Hz"),
        ("[1, -1]", "[1, -1]\nwindows = {size = 0, hop = 1}", ConfigError, "above 0"),
        ("encoder.onnx", "other.onnx", CheckpointError, "lacks the model file other.onnx"),
        ("encoder.onnx", "../encoder.onnx", CheckpointError, "outside its folder"),
        ("encoder.onnx", "encoder.pt", CheckpointError, "neither an .onnx nor an .ort"),
        ("encoder.onnx", "text.onnx", CheckpointError, "no ONNX model, or damaged"),
        ("encoder.onnx", "text.ort", CheckpointError, "cannot be opened"),
        ('output = "frames"', 'output = "x"', CheckpointError, "no output x; it has frames"),
        ('input = "audio"', 'input = "x"', CheckpointError, "no input x; it has audio"),
    ],
)
def test_a_wrong_description_is_one_sentence(encoder, before, after, error, said):
    for name in ("text.onnx", "text.ort"):
        (encoder.parent / name).write_bytes(b"no model at all")
    describe(encoder.parent, ENCODER.replace(before, after))
    with pytest.raises(error, match=said) as caught:
        load_onnx(encoder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("dim = 3", "dim = 4", "promises"),
        ("hop = 20", "hop = 10", "promises"),
        ("span = 40", "span = 20", "promises"),
        ("[1, -1]", "[1, 7]", "cannot run encoder.onnx"),
        ("[1, -1]", "[-1, 1]", "cannot run encoder.onnx"),
        ("[1, -1]", "[1, -1]\nmultiply = inf", "not finite"),
    ],
)
def test_a_description_that_the_model_contradicts_is_told(encoder, before, after, said):
    teacher = load_onnx(describe(encoder.parent, ENCODER.replace(before, after)))
    with pytest.raises(CheckpointError, match=said):
        teacher.features(*batch(clip(400)))


def test_what_an_embedder_has_not_is_refused(encoder):
    teacher = load_onnx(encoder)
    audio, lengths = batch(clip(100))
    for asked in ({"ffn": (1,)}, {"attention": (1,)}, {"codes": True}, {"layers": (0,)}, {"layers": (2,)}):
        with pytest.raises(ConfigError, match="frames, its layer 1"):
            teacher.features(audio, lengths, **asked)
    assert teacher.features(audio, lengths, ()).hidden == {}
    with pytest.raises(AudioError, match="39 samples"):
        teacher.features(*batch(clip(100), clip(39)))
    with pytest.raises(AudioError, match="one length per clip"):
        teacher.features(audio[0], lengths)
    with pytest.raises(AudioError, match="one length per clip"):
        teacher.features(audio, lengths + 1000)


def far_initializer(model: onnx.ModelProto, location: str) -> None:
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def far_branch(model: onnx.ModelProto, location: str) -> None:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    out = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])
    branch = helper.make_graph([constant], "branch", [], [out])
    condition = numpy_helper.from_array(np.array(1, bool), "yes")
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch)
    )


@pytest.mark.parametrize("put", [far_initializer, far_branch])
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_weights_outside_of_the_folder_are_refused(encoder, tmp_path_factory, put, location):
    outside = tmp_path_factory.mktemp("outside") / "secret.bin"
    outside.write_bytes(FILTERS.tobytes())
    (encoder.parent / "link.bin").symlink_to(outside)
    file = encoder.parent / "encoder.onnx"
    model = onnx.load(file)
    put(model, location)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="lies outside its folder, and is refused"):
        load_onnx(encoder)


def test_weights_beside_the_model_are_read(encoder):
    file = encoder.parent / "encoder.onnx"
    model = onnx.load(file)
    far_initializer(model, "weights.bin")
    (encoder.parent / "weights.bin").write_bytes(FILTERS.tobytes())
    file.write_bytes(model.SerializeToString())
    samples = clip(100)
    made = load_onnx(encoder).features(*batch(samples)).hidden[1][0]
    np.testing.assert_allclose(made, encode(samples), atol=1e-5)


def test_an_operator_of_a_library_is_refused(encoder):
    file = encoder.parent / "encoder.onnx"
    model = onnx.load(file)
    model.graph.node[0].domain = "some.library"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="cannot be opened by onnxruntime"):
        load_onnx(encoder)


def test_a_description_is_frozen():
    with pytest.raises(AttributeError):
        Embedder(graphs=(), dim=1, span=1).dim = 2
