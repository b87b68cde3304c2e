"""From a float model file to the file that is written, or to none."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from earkit.compress import fidelity, gate
from earkit.compress import quantize as module
from earkit.compress.calibration_clips import CalibrationClips, Sound
from earkit.compress.fidelity import Parent
from earkit.compress.graph import FRONT_END, open_graph, run, weights
from earkit.compress.quantize import Tried, quantize, try_all
from earkit.distill.data.corpus import Clip
from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.student import StudentConfig
from earkit.export.graph import clip_graph, select
from earkit.export.streaming import stream_graph
from earkit.runtime.errors import ConfigError, StorageError
from earkit.runtime.model_file import KEY, ModelInfo, Tokens, read_model_file
from earkit.runtime.streaming_model import StreamingModel

INFO = ModelInfo(
    schema=1,
    name="ear",
    outputs=("embedding", "frames", "tokens", "frame_lengths"),
    dim=12,
    frame_dim=16,
    sample_rate=16_000,
    hop=640,
    lookahead=640,
    context=640,
    tokens=Tokens(0, 1, 8),
    quality={"words": 0.75},
    drift={"embedding": 1e-6},
    parent_sha256="abc",
    versions={"torch": "2"},
)


@pytest.fixture
def write(small_graph: Callable[..., onnx.ModelProto], tmp_path: Path) -> Callable[..., Path]:
    def of(name: str = "ear.onnx", **changes: Any) -> Path:
        proto = small_graph()
        info = dataclasses.replace(INFO, **changes)
        for put in list(proto.graph.output):
            if put.name not in info.outputs:
                proto.graph.output.remove(put)
        onnx.helper.set_model_props(proto, {KEY: info.to_json()})
        onnx.save(proto, tmp_path / name)
        return tmp_path / name

    return of


@pytest.fixture(scope="module")
def clips(sounds: Callable[..., list[np.ndarray]]) -> CalibrationClips:
    train, held = (
        tuple(Sound(x, Clip("", "", len(x), 16_000), 0) for x in side)
        for side in (sounds(6), sounds(4, seed=1))
    )
    return CalibrationClips(train, held, "here")


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let every candidate take so many milliseconds, and the float graph 10."""

    def of(milliseconds: float) -> None:
        def pretend(protos: list[onnx.ModelProto], threads: int) -> list[tuple[float, float]]:
            return [(10.0, 1.0), *[(milliseconds, 10 / milliseconds)] * (len(protos) - 1)]

        monkeypatch.setattr(gate, "paired_latency", pretend)
        monkeypatch.setattr(gate, "usable_threads", lambda: 2)

    return of


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_one_file_that_explains_itself_and_its_card(
    write: Callable[..., Path],
    clips: CalibrationClips,
    times: Callable[[float], None],
    tmp_path: Path,
) -> None:
    times(4.0)
    said: list[str] = []
    made = quantize(write(), clips, say=said.append)
    assert made.file == tmp_path / "ear-int8.onnx"
    assert names(tmp_path) == ["ear-int8.md", "ear-int8.onnx", "ear.onnx"]
    assert [row.candidate.name for row in made.rows] == [
        "dynamic int8",
        "static int8, min-max",
        "static int8, entropy",
        "static int8, percentile",
    ]
    assert {line for line in said if line.startswith("tried")} == {
        f"tried {row.candidate.name}" for row in made.rows
    }
    proto = onnx.load(made.file, load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    assert not any(each.external_data for each in proto.graph.initializer)
    info = read_model_file(made.file)
    assert info == made.info
    assert made.card.read_text(encoding="utf-8") == info.card
    chosen = next(row for row in made.rows if row.candidate.name == made.chosen)
    assert chosen.fidelity.cosine == max(row.fidelity.cosine for row in made.rows)
    assert (info.name, info.precision, info.parent_sha256) == ("ear-int8", made.chosen, "abc")
    assert info.quality["words"] == 0.75
    assert info.drift["embedding"] == pytest.approx(1 - chosen.fidelity.cosine, abs=1e-6)
    assert set(info.drift) == {"embedding", "embedding, worst", "embedding, in a batch", "tokens", "frames"}
    assert [(each.threads, each.seconds, each.milliseconds) for each in info.latency] == [
        (1, 10.0, 4.0),
        (2, 10.0, 4.0),
    ]
    assert info.machine
    assert info.megabytes == pytest.approx(made.file.stat().st_size / 1e6, abs=0.01)
    assert info.operators == tuple(sorted({node.op_type for node in proto.graph.node}))
    assert {"torch", "onnxruntime", "optimum"} <= set(info.versions)
    assert made.chosen in info.card


def test_what_does_not_pay_is_not_written(
    write: Callable[..., Path], clips: CalibrationClips, times: Callable[[float], None], tmp_path: Path
) -> None:
    times(11.0)
    model = write("mine.onnx")
    made = quantize(model, clips)
    assert (made.file, made.chosen, made.info) == (model, "", INFO)
    assert {row.refusal for row in made.rows} == {"not faster with threads: 1"}
    assert names(tmp_path) == ["mine.onnx"]
    kept = quantize(model, clips, folder=tmp_path / "run")
    assert kept.file == tmp_path / "run" / "ear.onnx"
    assert names(tmp_path / "run") == ["ear.md", "ear.onnx"]
    assert read_model_file(kept.file) == INFO
    sound = clips.held_out[0].samples
    one, other = (run(open_graph(onnx.load(each)), [sound]) for each in (model, kept.file))
    np.testing.assert_array_equal(one["embedding"], other["embedding"])


def test_for_size_the_smallest_is_taken_though_it_is_slow(
    write: Callable[..., Path], clips: CalibrationClips, times: Callable[[float], None]
) -> None:
    times(11.0)
    made = quantize(write("mine.onnx"), clips, goal="size")
    sizes = {row.candidate.name: row.megabytes for row in made.rows if not row.refusal}
    assert len(made.rows) == 8
    assert sizes[made.chosen] <= 1.03 * min(sizes.values())
    chosen = next(row.candidate for row in made.rows if row.candidate.name == made.chosen)
    assert made.file.name == f"mine-{chosen.weights}.onnx"


def test_static_plans_that_fail_are_rescued_until_one_passes(
    write: Callable[..., Path],
    clips: CalibrationClips,
    times: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times(4.0)

    def unlike(found: fidelity.Fidelity) -> str:
        return "" if found.cosine > 2 else "wrong"  # the pretended cosine of a mixed plan

    def compare(_: Parent, proto: onnx.ModelProto) -> fidelity.Fidelity:
        names = {each.name for each in proto.graph.initializer}
        left = names & {"rise", "fall", "depthwise", "project", "token_head"}
        static = any(node.op_type == "QuantizeLinear" for node in proto.graph.node)
        return fidelity.Fidelity(3.0 if left and static else 0.5, 1.0, 1.0)

    monkeypatch.setattr(module, "unlike", unlike)
    monkeypatch.setattr(gate, "unlike", unlike)
    monkeypatch.setattr(Parent, "compare", compare)
    made = quantize(write(), clips)
    assert [row.candidate.name.removeprefix("static int8, ") for row in made.rows][4:] == [
        "biases corrected",
        "12.5% of the nodes in float",
    ]
    assert made.chosen == "static int8, 12.5% of the nodes in float"


def test_what_cannot_be_quantized_is_refused_before_any_work(
    write: Callable[..., Path], clips: CalibrationClips, tmp_path: Path
) -> None:
    refusals: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        r"give --out .*x\.onnx, not": ({}, {"out": tmp_path / "x.bin"}),
        "would replace the float file": ({}, {"out": tmp_path / "ear.onnx"}),
        "is static int8, entropy already": ({"precision": "static int8, entropy"}, {}),
        "gives only tokens, frame_lengths, by which": ({"outputs": ("tokens", "frame_lengths")}, {}),
    }
    for sentence, (changes, options) in refusals.items():
        with pytest.raises(ConfigError, match=sentence):
            quantize(write(**changes), clips, **options)
    with pytest.raises(ConfigError, match="ear is of one shape, for phones"):
        module._refuse(dataclasses.replace(INFO, samples=80_000), tmp_path / "ear.onnx", None)
    with pytest.raises(ConfigError, match=r"ear\.ort is not an \.onnx file"):
        module._refuse(INFO, tmp_path / "ear.ort", None)
    assert names(tmp_path) == ["ear.onnx"]


def test_a_place_that_cannot_be_written_leaves_nothing(
    write: Callable[..., Path], clips: CalibrationClips, times: Callable[[float], None], tmp_path: Path
) -> None:
    times(4.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write"):
        quantize(write(), clips, out=tmp_path / "file" / "x.onnx")
    assert names(tmp_path) == ["ear.onnx", "file"]


def test_the_best_that_breaks_its_promise_on_other_lengths_is_not_taken(
    write: Callable[..., Path],
    clips: CalibrationClips,
    times: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times(4.0)
    asked: list[onnx.ModelProto] = []

    def first_is_wrong(proto: onnx.ModelProto) -> float:
        asked.append(proto)
        return 0.9995 if len(asked) > 1 else 0.9

    monkeypatch.setattr(module, "invariance", first_is_wrong)
    made = quantize(write(), clips)
    refused = [row for row in made.rows if row.refusal]
    assert [row.refusal for row in refused] == ["cosine 0.9000 to itself in a batch or in steps, below 0.999"]
    chosen = next(row for row in made.rows if row.candidate.name == made.chosen)
    assert [asked[0], asked[1]] == [refused[0].candidate.proto, chosen.candidate.proto]
    assert made.info.drift["embedding, in a batch"] == pytest.approx(5e-4, abs=1e-6)


STREAM = StudentConfig(
    size="custom", dim=64, depth=2, heads=2, kernel=7, kernel_ahead=2, bands=20, embedding_dim=32
)


@pytest.fixture(scope="module")
def stream_student() -> DistilledStudent:
    torch.manual_seed(0)
    return DistilledStudent(STREAM, Outputs(codebooks=1, codebook_size=16)).eval()


def test_a_step_graph_becomes_one_that_streams_the_same_frames(
    stream_student: DistilledStudent, clips: CalibrationClips, times: Callable[[float], None], tmp_path: Path
) -> None:
    """Fed in steps of 80 ms by the runtime, against whole files in torch."""
    times(4.0)
    proto, stream = stream_graph(stream_student, select(stream_student, streaming=True))
    outputs = ("frames", "frame_lengths", "tokens", "frame_start")
    info = dataclasses.replace(
        INFO, name="ear-stream", outputs=outputs, frame_dim=64, tokens=Tokens(0, 1, 16), stream=stream
    )
    onnx.helper.set_model_props(proto, {KEY: info.to_json()})
    onnx.save(proto, tmp_path / "ear-stream.onnx")
    made = quantize(tmp_path / "ear-stream.onnx", clips, goal="size")
    assert made.chosen
    assert made.info.stream == stream
    assert set(made.info.drift) == {"frames, worst", "frames, in steps", "tokens", "frames"}
    before = {node.name for node in proto.graph.node if node.name.startswith(FRONT_END)}
    assert len(before) > 10
    for row in made.rows:
        nodes = row.candidate.proto.graph.node
        assert {node.name for node in nodes if node.name.startswith(FRONT_END)} == before
        assert row.fidelity.cosine >= 0.99, row.candidate.name
        assert row.fidelity.together >= 0.999, row.candidate.name
    streamed = StreamingModel.load(made.file)
    for sound in clips.held_out[:2]:
        own = streamed.stream()
        parts = [own.push(sound.samples), own.flush()]
        frames = np.concatenate([part.frames for part in parts if part.frames is not None])
        with torch.inference_mode():
            whole = torch.from_numpy(sound.samples)[None]
            wanted = stream_student.frames(whole, torch.tensor([whole.shape[1]]))[0][0].numpy()
        cosine = (frames * wanted).sum(1) / np.linalg.norm(frames, axis=1) / np.linalg.norm(wanted, axis=1)
        assert cosine.mean() > 0.99
        assert cosine.min() > 0.97


@pytest.fixture(scope="module")
def of_a_student(clips: CalibrationClips) -> tuple[onnx.ModelProto, Tried]:
    """A student with convolutions and attention, with random weights, and all ways to quantize it."""
    torch.manual_seed(0)
    config = StudentConfig(
        size="custom",
        dim=64,
        depth=2,
        heads=2,
        block="hybrid",
        kernel=7,
        kernel_ahead=2,
        attention_back=6,
        attention_ahead=3,
        bands=20,
        embedding_dim=32,
    )
    model = DistilledStudent(config, Outputs(codebooks=1, codebook_size=16)).eval()
    proto = clip_graph(model, select(model))
    return proto, try_all(Parent(proto, clips), "size")


def test_a_student_keeps_its_promises_in_every_way(of_a_student: tuple[onnx.ModelProto, Tried]) -> None:
    """Cosine 0.999 between alone and in a padded batch, the front end in float, standard operators."""
    model, tried = of_a_student
    before = {node.name: node.op_type for node in model.graph.node if node.name.startswith(FRONT_END)}
    assert len(before) > 10
    for candidate, found in tried:
        assert found.together >= 0.999, candidate.name
        assert found.cosine >= 0.99, candidate.name
        nodes = candidate.proto.graph.node
        assert {node.name: node.op_type for node in nodes if node.name.startswith(FRONT_END)} == before
        assert {each.domain for each in candidate.proto.opset_import} <= {"", "ai.onnx"}
        assert "ConvInteger" not in {node.op_type for node in nodes}


def test_a_student_is_smaller_by_what_is_left_out(of_a_student: tuple[onnx.ModelProto, Tried]) -> None:
    """Weights of 4 bytes, of 1, and of half a byte and a multiplier of 2 for 64, or 32, or 16."""
    model, tried = of_a_student
    sizes = {candidate.name: candidate.proto.ByteSize() for candidate, _ in tried}
    large = sum(math.prod(each.dims) for each in weights(model).values() if math.prod(each.dims) >= 256)
    saved = model.ByteSize() - sizes["static int8, min-max"]
    assert 2 * large < saved < 3 * large
    saved = sizes["static int8, min-max"] - sizes["int4 storage, static int8"]
    assert 0.2 * large < saved < 0.5 * large
    assert sizes["int4 storage, static int8, rest float16"] < sizes["int4 storage, static int8"]
