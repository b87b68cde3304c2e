"""Every figure against NumPy, on graphs whose differences are known."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from earkit.compress import fidelity
from earkit.compress.calibration_clips import CalibrationClips, Sound
from earkit.compress.fidelity import Fidelity, Parent, vectors
from earkit.compress.graph import open_graph, run
from earkit.compress.int8 import dynamic_int8
from earkit.distill.data.corpus import Clip

MakeGraph = Callable[..., onnx.ModelProto]
Sounds = Callable[..., list[np.ndarray]]


def clips_of(train: list[np.ndarray], held: list[np.ndarray], **labels: str) -> CalibrationClips:
    sides = [
        tuple(Sound(x, Clip(f"{i}", f"/{i}", len(x), 16_000, labels=labels), 0) for i, x in enumerate(side))
        for side in (train, held)
    ]
    return CalibrationClips(sides[0], sides[1], "here")


@pytest.fixture(scope="module")
def clips(sounds: Sounds) -> CalibrationClips:
    return clips_of(sounds(20), sounds(20, seed=1))


@pytest.fixture(scope="module")
def parent(small_graph: MakeGraph, clips: CalibrationClips) -> Parent:
    return Parent(small_graph(), clips)


def with_noise(proto: onnx.ModelProto, weight: str, amount: float) -> onnx.ModelProto:
    made = onnx.ModelProto.FromString(proto.SerializeToString())
    for each in made.graph.initializer:
        if each.name == weight:
            values = numpy_helper.to_array(each)
            noise = np.random.default_rng(5).standard_normal(values.shape)
            each.CopyFrom(numpy_helper.from_array((values + amount * noise).astype(np.float32), weight))
    return made


def without(proto: onnx.ModelProto, *outputs: str) -> onnx.ModelProto:
    made = onnx.ModelProto.FromString(proto.SerializeToString())
    for put in list(made.graph.output):
        if put.name in outputs:
            made.graph.output.remove(put)
    return made


def test_the_same_graph_is_the_same(parent: Parent, small_graph: MakeGraph) -> None:
    found = parent.compare(small_graph())
    assert found.cosine == pytest.approx(1)
    assert found.together == pytest.approx(1)
    assert found == Fidelity(found.cosine, found.worst_cosine, found.together, 1.0, 0.0, {"clusters": 1.0})


def test_figures_are_those_of_their_definitions(
    parent: Parent, small_graph: MakeGraph, clips: CalibrationClips
) -> None:
    other = with_noise(small_graph(), "fall", 0.05)
    found = parent.compare(other)
    a, b = (
        [run(open_graph(each), [sound.samples]) for sound in clips.held_out]
        for each in (small_graph(), other)
    )
    cosines = [float(x["embedding"][0] @ y["embedding"][0]) for x, y in zip(a, b, strict=True)]
    assert found.cosine == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.worst_cosine == pytest.approx(min(cosines), abs=1e-5)
    frames = [np.concatenate([x["frames"][0] for x in side]) for side in (a, b)]
    ratio = np.linalg.norm(frames[0] - frames[1]) / np.linalg.norm(frames[0])
    assert found.frames == pytest.approx(ratio, rel=1e-4)
    tokens = [np.concatenate([x["tokens"][0] for x in side]) for side in (a, b)]
    assert found.tokens == pytest.approx((tokens[0] == tokens[1]).mean())
    assert 0.5 < found.tokens < 1


def test_a_deaf_graph_loses_the_probes(parent: Parent, small_graph: MakeGraph) -> None:
    found = parent.compare(with_noise(small_graph(), "fall", 30.0))
    assert found.probes["clusters"] < 0.97
    assert found.cosine < 0.9


def test_few_examples_decide_nothing(small_graph: MakeGraph, sounds: Sounds) -> None:
    few = Parent(small_graph(), clips_of(sounds(4), sounds(2)))  # 50 frames are held out
    assert few.compare(small_graph()).probes == {}


def test_labels_are_those_of_frames(
    small_graph: MakeGraph, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "LEAST_EXAMPLES", 50)
    clips = clips_of(sounds(4), sounds(3), phones="a:0:8000 b:8000:16000", words="")
    assert set(Parent(small_graph(), clips).scores) == {"phones"}
    only = without(small_graph(), "frames", "frame_lengths", "tokens")
    monkeypatch.setattr(fidelity, "WINDOW", 800)  # no frames: short stretches are probed, by clusters
    embedding = Parent(only, clips)
    assert set(embedding.scores) == {"clusters"}
    found = embedding.compare(only)
    assert found.probes == {"clusters": 1.0}
    assert (found.tokens, found.frames) == (None, None)


def test_what_depends_on_its_batch_is_seen(small_graph: MakeGraph, sounds: Sounds) -> None:
    quiet = sounds(8)
    quiet[3] *= 60  # takes the range from the others
    clips = clips_of(sounds(2), quiet)
    assert Parent(small_graph(), clips).compare(small_graph()).together > 0.99999
    assert Parent(small_graph(), clips).compare(dynamic_int8(small_graph())).together < 0.999


def test_what_stands_for_a_clip(small_graph: MakeGraph, sounds: Sounds) -> None:
    three = sounds(3)
    given = run(open_graph(small_graph()), three)
    np.testing.assert_allclose(vectors(given), given["embedding"], atol=1e-6)
    frames = vectors({"frames": given["frames"]})
    for i, length in enumerate(given["frame_lengths"]):
        mean = given["frames"][i, :length].mean(0)
        np.testing.assert_allclose(frames[i], mean / np.linalg.norm(mean), atol=1e-5)
    scores = np.array([[3.0, 4.0]], np.float32)
    np.testing.assert_allclose(vectors({"frames": given["frames"], "scores": scores}), [[0.6, 0.8]])
