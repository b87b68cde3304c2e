"""A step graph, played, against a graph of whole clips that is known in closed form."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from earkit.runtime.errors import CheckpointError
from earkit.runtime.inference import STEP, cosine, open_graph, pad, play, run, steps, zero_states


def noise(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(n).astype(np.float32) / 10 for n in lengths]


def test_a_batch_is_padded_on_the_right() -> None:
    given = pad([np.ones(2, np.float32), np.ones(3, np.float32)])
    assert given["audio"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert given["lengths"].tolist() == [2, 3]
    assert given["lengths"].dtype == np.int64


def test_all_outputs_have_their_names(clip_model: Path) -> None:
    (clip,) = noise(320)
    given = run(open_graph(onnx.load(clip_model)), pad([clip]))
    energies = [float(np.square(clip[i : i + 160]).sum()) for i in (0, 160)]
    np.testing.assert_allclose(
        given["frames"][0], [[0, *energies, 0], [energies[0], energies[1], 0, 0]], rtol=1e-5
    )
    assert given["frame_lengths"].tolist() == [2]


def test_states_begin_at_zero(step_graph: Path, clip_model: Path) -> None:
    states = zero_states(open_graph(onnx.load(step_graph)), 3)
    assert {name: (each.shape, each.dtype, each.any()) for name, each in states.items()} == {
        "heard": ((3, 2), np.int64, False),
        "past": ((3, 3), np.float32, False),
    }
    assert zero_states(open_graph(onnx.load(clip_model)), 3) == {}


@pytest.mark.parametrize("step", [160, STEP, 5 * STEP])
def test_steps_give_what_the_whole_clip_gives(step_graph: Path, clip_model: Path, step: int) -> None:
    clips = noise(161, 4000, 1, 1280)
    given = play(open_graph(onnx.load(step_graph)), clips, step)
    wanted = run(open_graph(onnx.load(clip_model)), pad(clips))
    assert given["frame_lengths"].tolist() == wanted["frame_lengths"].tolist() == [2, 25, 1, 8]
    assert given["frames"].shape == wanted["frames"].shape
    for i, length in enumerate(given["frame_lengths"]):
        np.testing.assert_allclose(given["frames"][i, :length], wanted["frames"][i, :length], atol=1e-5)
        assert given["tokens"][i, :length].tolist() == wanted["tokens"][i, :length].tolist()


def test_what_is_fed_is_the_clip_in_pieces_and_then_nothing(step_graph: Path) -> None:
    (clip,) = noise(3000)
    fed = [inputs for inputs, _ in steps(open_graph(onnx.load(step_graph)), [clip])]
    assert [each["lengths"].tolist() for each in fed] == [[1280], [1280], [440]]
    audio = np.concatenate([each["audio"][0] for each in fed])
    assert audio[:3000].tobytes() == clip.tobytes()
    assert not audio[3000:].any()
    fed = [inputs for inputs, _ in steps(open_graph(onnx.load(step_graph)), [clip], 3040)]
    assert [(each["audio"].shape[1], each["lengths"].tolist()) for each in fed] == [
        (3040, [3000]),
        (1280, [0]),  # two frames late
    ]


def test_what_onnxruntime_does_not_open_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"cannot open the graph that was made .* nothing was written"):
        open_graph(onnx.ModelProto(ir_version=9))


def test_a_cosine_is_of_all_numbers_whatever_their_shape() -> None:
    a = np.array([[3.0, 0.0], [4.0, 0.0]], np.float32)
    b = np.array([0.0, 5.0, 5.0, 0.0], np.float32)
    assert cosine(a, b) == pytest.approx(4 / 5 / 2**0.5)  # 20 / (5 * 5 sqrt 2)
    assert cosine(a, -a) == pytest.approx(-1)
    assert cosine(a, np.zeros(4)) == 0
    assert np.isnan(cosine(a, np.full(4, np.nan)))
