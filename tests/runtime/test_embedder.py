"""The embedder, with a model whose outputs have a closed form; exported students are in tests/export."""

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

import earkit.runtime.embedder as embedder_module
from earkit.runtime import Embedder
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError
from earkit.runtime.outputs import SparseCode
from earkit.runtime.sounds import Heard

RATE, HOP = 16_000, 160
CLASSES = np.array([[1, 0], [0, 2], [0, 0], [-1, 1]])

Floats = NDArray[np.float32]


def sound(seconds: float, seed: int = 0) -> Floats:
    """Noise whose loudness changes; no whole number of frames."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * RATE) + 7
    loudness = rng.uniform(0, 0.3, 1 + samples // 700).repeat(700)[:samples]
    return (loudness * rng.standard_normal(samples)).clip(-1, 1).astype(np.float32)


def frames_of(x: Floats) -> NDArray[np.float64]:
    energy = [float((x[i : i + HOP].astype(np.float64) ** 2).sum()) for i in range(0, len(x), HOP)]
    padded = [0.0, *energy, 0.0, 0.0]
    return np.array([padded[t : t + 4] for t in range(len(energy))])


def embedding_of(x: Floats) -> NDArray[np.float64]:
    mean = frames_of(x).mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def embedder(clip_model: Path) -> Embedder:
    return Embedder.load(clip_model, threads=1)


def written(x: NDArray[Any], rate: int = RATE, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, x, rate, format=kind, subtype="FLOAT" if kind == "WAV" else "PCM_16")
    return file.getvalue()


class Spy:
    """Notes what a session is asked for."""

    def __init__(self, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[list[str], tuple[int, ...]]] = []
        self._session = embedder._session
        monkeypatch.setattr(embedder, "_session", self)

    def run(self, names: list[str], inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.calls.append((names, inputs["audio"].shape))
        made: list[NDArray[Any]] = self._session.run(names, inputs)
        return made


@pytest.fixture
def spy(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(embedder, monkeypatch)


@pytest.fixture
def one_second_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_module, "WINDOW_SECONDS", 1)


def test_what_it_says_of_itself(embedder: Embedder, clip_model: Path) -> None:
    assert embedder.path == clip_model
    assert (embedder.dim, embedder.dims, embedder.sample_rate) == (4, (2, 4), RATE)
    assert (embedder.frame_rate, embedder.lookahead_ms) == (100.0, 20.0)
    assert embedder.info.name == "loudness"


def test_every_kind_of_sound_gives_the_same(embedder: Embedder, tmp_path: Path) -> None:
    x, wanted = sound(1.3), embedding_of(sound(1.3))
    path = tmp_path / "a.wav"
    path.write_bytes(written(x))
    with path.open("rb") as file:
        given = [
            embedder.embed(path),
            embedder.embed(str(path)),
            embedder.embed(path.read_bytes()),
            embedder.embed(file),
            embedder.embed(io.BytesIO(path.read_bytes())),
            embedder.embed(x, RATE),
            embedder.embed(x.astype(np.float64), float(RATE)),
            embedder.embed(x[:, None], np.int64(RATE)),
        ]
    for vector in given:
        assert (vector.shape, vector.dtype) == ((4,), np.float32)
        np.testing.assert_allclose(vector, wanted, atol=1e-5)
    np.testing.assert_allclose(embedder.embed((x * 2**15).astype(np.int16), RATE), wanted, atol=1e-3)


def test_another_rate_is_resampled_and_channels_are_averaged(embedder: Embedder) -> None:
    left, right = sound(1.0), sound(1.0, seed=1)
    stereo = np.stack([left, right], axis=1)
    mono = soxr.resample(stereo.mean(axis=1, dtype=np.float32), 44_100, RATE, quality="HQ")
    for given in (embedder.embed(stereo, 44_100), embedder.embed(written(stereo, 44_100))):
        np.testing.assert_allclose(given, embedding_of(mono), atol=1e-5)


def test_a_file_says_its_own_rate(embedder: Embedder) -> None:
    data = written(sound(0.2), 8000)
    np.testing.assert_array_equal(embedder.embed(data, 8000), embedder.embed(data))
    with pytest.raises(AudioError, match="a file of 8000 Hz was given as one of 16000 Hz"):
        embedder.embed(data, RATE)


def test_frames_and_tokens(embedder: Embedder) -> None:
    x, wanted = sound(1.3), frames_of(sound(1.3))
    frames, tokens = embedder.embed(x, RATE, output="frames"), embedder.embed(x, RATE, output="tokens")
    np.testing.assert_allclose(frames, wanted, rtol=1e-4, atol=1e-6)
    assert tokens.dtype == np.int64
    np.testing.assert_array_equal(tokens, wanted.argmax(1))


def test_sparse_codes_are_as_long_as_asked(embedder: Embedder) -> None:
    mean = frames_of(sound(1.3)).mean(0)
    order = np.argsort(-mean)
    for k, wanted in ((None, 2), (1, 1), (3, 3)):
        code = embedder.embed(sound(1.3), RATE, output="sparse", k=k)
        assert code.width == 4
        np.testing.assert_array_equal(code.indices, order[:wanted])
        np.testing.assert_allclose(code.values, mean[order[:wanted]], rtol=1e-4)


def test_scores(embedder: Embedder) -> None:
    given = embedder.embed(sound(1.3), RATE, output="scores")
    np.testing.assert_allclose(given, frames_of(sound(1.3)).mean(0) @ CLASSES, rtol=1e-4)


def test_many_give_a_matrix_or_a_list_in_their_order(embedder: Embedder) -> None:
    clips = [sound(seconds, seed) for seed, seconds in enumerate((2.0, 0.1, 0.7, 0.1, 1.2))]
    matrix = embedder.embed(clips, RATE)
    assert matrix.shape == (5, 4)
    np.testing.assert_allclose(matrix, [embedding_of(clip) for clip in clips], atol=1e-5)
    for given, clip in zip(embedder.embed(clips, RATE, output="frames"), clips, strict=True):
        np.testing.assert_allclose(given, frames_of(clip), rtol=1e-4, atol=1e-6)
    for tokens, clip in zip(embedder.embed(tuple(clips), RATE, output="tokens"), clips, strict=True):
        np.testing.assert_array_equal(tokens, frames_of(clip).argmax(1))
    codes = embedder.embed(clips, RATE, output="sparse", k=3)
    assert codes.indices.shape == codes.values.shape == (5, 3)
    assert embedder.embed([clips[0]], RATE).shape == (1, 4)


def test_none_give_an_empty_matrix(embedder: Embedder) -> None:
    assert embedder.embed([], RATE, dim=2).shape == (0, 2)
    assert embedder.embed([], RATE, output="scores").shape == (0, 2)
    assert embedder.embed([], RATE, output="frames") == []
    assert embedder.embed([], RATE, output="sparse", k=3).values.shape == (0, 3)


def test_a_cut_embedding_is_normalised_again(embedder: Embedder) -> None:
    full = embedding_of(sound(1.3))
    wanted = full[:2] / np.linalg.norm(full[:2])
    np.testing.assert_allclose(embedder.embed(sound(1.3), RATE, dim=2), wanted, atol=1e-5)
    np.testing.assert_array_equal(embedder.embed(sound(1.3), RATE, dim=4), embedder.embed(sound(1.3), RATE))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"dim": 3}, "not trained to be cut to 3: take dim 2 or 4"),
        ({"dim": 0}, "not trained to be cut to 0"),
        ({"dim": 2, "output": "frames"}, "dim is of the embedding: leave it out for frames"),
        ({"k": 2}, "k is of a sparse code: leave it out for embedding"),
        ({"k": 4, "output": "sparse"}, "has 1 to 3 latents, not 4"),
        ({"k": 0, "output": "sparse"}, "has 1 to 3 latents, not 0"),
        ({"output": "smell"}, "gives no 'smell': take embedding or frames or tokens or sparse or scores"),
    ],
)
def test_what_a_model_does_not_have_is_refused(
    embedder: Embedder, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        embedder.embed(sound(0.1), RATE, **asked)
    with pytest.raises(ConfigError, match=sentence):
        embedder.embed_iter([], RATE, **asked)  # at once, not at the first result


def test_a_model_with_less_names_what_it_has(tmp_path: Path, write_clip_graph: Callable[..., Path]) -> None:
    outputs = ["embedding", "frames", "frame_lengths", "tokens", "sparse_indices", "sparse_values"]
    graph = (",\n      float[batch, 2] scores)", ")")
    path = write_clip_graph(tmp_path / "m.onnx", graph=graph, outputs=outputs, classes=[], dims=[])
    embedder = Embedder.load(path)
    with pytest.raises(ConfigError, match=r"no 'scores': take embedding or frames or tokens or sparse$"):
        embedder.embed(sound(0.1), RATE, output="scores")
    assert embedder.dims == (4,)
    with pytest.raises(ConfigError, match=r"take dim 4$"):
        embedder.embed(sound(0.1), RATE, dim=2)


def test_a_typo_is_no_option(embedder: Embedder) -> None:
    with pytest.raises(TypeError, match="outptu"):
        embedder.embed(sound(0.1), RATE, outptu="frames")  # type: ignore[call-overload]


def test_only_what_is_asked_for_is_computed(embedder: Embedder, spy: Spy) -> None:
    for output in ("embedding", "frames", "tokens", "scores", "sparse"):
        embedder.embed(sound(0.1), RATE, output=output)
    assert [names for names, _ in spy.calls] == [
        ["embedding"],
        ["frames"],
        ["tokens"],
        ["scores"],
        ["sparse_indices", "sparse_values"],
    ]


def test_short_clips_share_batches_and_others_run_alone(embedder: Embedder, spy: Spy) -> None:
    embedder.embed([sound(seconds) for seconds in (0.1, 9.0, 0.2, 0.11, 1.5)], RATE)
    assert sorted(shape for _, shape in spy.calls) == [(1, 24_007), (1, 144_007), (3, 3_207)]


def test_a_result_does_not_depend_on_the_batch(embedder: Embedder) -> None:
    clips = [sound(0.05 * (1 + seed % 5), seed) for seed in range(20)]
    for output in ("embedding", "frames"):
        together = embedder.embed(clips, RATE, output=output)
        for clip, given in zip(clips, together, strict=True):
            np.testing.assert_allclose(given, embedder.embed(clip, RATE, output=output), atol=1e-6)


def test_threads_may_share_it(embedder: Embedder) -> None:
    clips = [sound(0.3, seed) for seed in range(4)]
    given: dict[int, list[Floats]] = {}

    def work(seed: int) -> None:
        given[seed] = [embedder.embed(clips[seed], RATE) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, vectors in given.items():
        np.testing.assert_array_equal(vectors, [embedder.embed(clips[seed], RATE)] * 20)


@pytest.mark.usefixtures("one_second_windows")
@pytest.mark.parametrize("seconds", [0.9, 1.0, 1.01, 2.015, 3.7])
def test_frames_of_windows_are_those_of_the_whole(embedder: Embedder, spy: Spy, seconds: float) -> None:
    x = sound(seconds)
    np.testing.assert_allclose(embedder.embed(x, RATE, output="frames"), frames_of(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(embedder.embed(x, RATE, output="tokens"), frames_of(x).argmax(1))
    # A window, and what is before and after it: 160 and 320 samples.
    assert max(samples for _, (_, samples) in spy.calls) <= RATE + 160 + 320


@pytest.mark.usefixtures("one_second_windows")
def test_a_long_sound_is_the_mean_of_its_windows_by_length(embedder: Embedder) -> None:
    x = sound(2.3)
    parts = [x[:RATE], x[RATE : 2 * RATE], x[2 * RATE :]]
    weights = np.array([len(part) for part in parts])[:, None] / len(x)
    vectors = [embedding_of(part) for part in parts]
    mean = (weights * vectors).sum(0)
    np.testing.assert_allclose(embedder.embed(x, RATE), mean / np.linalg.norm(mean), atol=1e-5)
    cut = mean[:2] / np.linalg.norm(mean[:2])
    np.testing.assert_allclose(embedder.embed([x, x], RATE, dim=2), [cut, cut], atol=1e-5)
    means = [frames_of(part).mean(0) for part in parts]
    scores = (weights * [mean @ CLASSES for mean in means]).sum(0)
    np.testing.assert_allclose(embedder.embed(x, RATE, output="scores"), scores, rtol=1e-4)
    codes = [np.where(mean >= np.sort(mean)[-2], mean, 0) for mean in means]
    code = embedder.embed(x, RATE, output="sparse")
    largest = np.argsort(-(weights * codes).sum(0))[:2]
    np.testing.assert_array_equal(code.indices, largest)
    np.testing.assert_allclose(code.values, (weights * codes).sum(0)[largest], rtol=1e-4)


def test_a_clip_of_just_a_window_is_that_window(embedder: Embedder) -> None:
    x = sound(61.0)
    exact = embedder.embed(x[: 60 * RATE], RATE)
    np.testing.assert_allclose(exact, embedding_of(x[: 60 * RATE]), atol=1e-5)
    np.testing.assert_allclose(embedder.embed(x[: 60 * RATE + 1], RATE), exact, atol=1e-5)  # no jump


def test_iterating_keeps_the_order_and_reads_ahead_a_bounded_part(embedder: Embedder) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Floats]:
        for _ in taken:
            yield sound(2.0)

    first = next(embedder.embed_iter(endless(), RATE))
    assert first[1].shape == (4,)
    assert next(taken) <= 1 + 120 / 2

    clips = [sound(0.1 + seed % 3, seed) for seed in range(100)]
    for (item, vector), clip in zip(embedder.embed_iter(iter(clips), RATE), clips, strict=True):
        assert item is clip
        np.testing.assert_allclose(vector, embedding_of(clip), atol=1e-5)


def test_short_clips_are_read_ahead_by_count(embedder: Embedder) -> None:
    taken = itertools.count()
    next(embedder.embed_iter((sound(0.01) for _ in taken), RATE))
    assert next(taken) == 64


def corpus_of(count: int) -> list[bytes]:
    """Files of many lengths, each fourth of another rate, each fifth empty, one of more than a window."""
    files = []
    for i in range(count):
        x = sound(0.1 + 2.7 * (i % 7) + 70 * (i == 11), i)
        files.append(b"" if i % 5 == 4 else written(x, 8000 if i % 4 == 3 else RATE))
    return files


@pytest.mark.parametrize("output", ["embedding", "frames"])
def test_many_threads_give_what_one_gives(embedder: Embedder, clip_model: Path, output: Any) -> None:
    files = corpus_of(40)
    many = Embedder.load(clip_model, threads=3)
    given = many.embed_iter(files, output=output, on_error="yield")
    wanted = embedder.embed_iter(files, output=output, on_error="yield")
    for file, (item, found), (_, result) in zip(files, given, wanted, strict=True):
        assert item is file
        if isinstance(result, AudioError):
            assert str(found) == str(result)
        else:
            np.testing.assert_array_equal(found, result)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_array_may_be_filled_anew_for_the_next_sound(clip_model: Path, threads: int) -> None:
    clips, buffer = [sound(5.0, seed) for seed in range(20)], np.zeros(5 * RATE + 7, np.float32)

    def refilled() -> Iterator[Floats]:
        for clip in clips:
            buffer[: len(clip)] = clip
            yield buffer[: len(clip)]

    embedder = Embedder.load(clip_model, threads=threads)
    given = [vector for _, vector in embedder.embed_iter(refilled(), RATE)]
    np.testing.assert_array_equal(given, embedder.embed(clips, RATE))


def test_many_threads_read_ahead_no_more_than_their_share(clip_model: Path) -> None:
    taken = itertools.count()
    next(Embedder.load(clip_model, threads=3).embed_iter((sound(2.0) for _ in taken), RATE))
    assert next(taken) <= 120 / 2 + 4


@pytest.mark.parametrize("what", ["gone", "another"])
def test_the_model_stays_the_one_that_was_opened(
    tmp_path: Path, write_clip_graph: Callable[..., Path], what: str
) -> None:
    """A second session is opened when there is work for several: the file may have changed since."""
    path = write_clip_graph(tmp_path / "model.onnx")
    clips = [sound(5.0, seed) for seed in range(6)]
    opened = Embedder.load(path, threads=2)
    wanted = Embedder.load(path, threads=1).embed(clips, RATE)
    path.unlink()
    if what == "another":
        write_clip_graph(path, outputs=("embedding",))
    np.testing.assert_array_equal(opened.embed(clips, RATE), wanted)


@pytest.mark.usefixtures("one_second_windows")
def test_errors_come_in_their_place(embedder: Embedder) -> None:
    cut = written(sound(3.0))[:-20_000]
    broken = written(np.concatenate([sound(66.0), [np.nan]]))  # found when the first block has been used
    corpus: list[Any] = [sound(0.1), cut, b"", sound(2.5), None, broken, sound(0.2)]
    given = list(embedder.embed_iter(corpus, None, on_error="yield"))
    assert [isinstance(result, AudioError) for _, result in given] == [True] * 7  # arrays need a rate
    corpus[0], corpus[3], corpus[6] = (written(x) for x in (sound(0.1), sound(2.5), sound(0.2)))
    given = list(embedder.embed_iter(corpus, on_error="yield"))
    assert [item is given_for for item, (given_for, _) in zip(corpus, given, strict=True)] == [True] * 7
    errors = {i: str(result) for i, (_, result) in enumerate(given) if isinstance(result, AudioError)}
    assert list(errors) == [1, 2, 4, 5]
    assert "truncated" in errors[1]
    assert "is empty" in errors[2]
    assert "a NoneType is no sound" in errors[4]
    assert "not finite" in errors[5]
    results = embedder.embed_iter(corpus)
    next(results)
    with pytest.raises(AudioError, match="truncated"):
        next(results)
    with pytest.raises(ConfigError, match="take 'raise' or 'yield'"):
        embedder.embed_iter([], on_error="skip")  # type: ignore[call-overload]


@pytest.mark.usefixtures("one_second_windows")
def test_it_tells_what_had_to_be_done(embedder: Embedder) -> None:
    loud = np.stack([np.tile(np.array([0.5, 1.5], np.float32), 12_000)] * 2, axis=1)
    told: list[Heard] = []
    corpus = [written(sound(0.1)), written(loud)]
    list(embedder.embed_iter(corpus, heard=lambda _, heard: told.append(heard)))
    list(embedder.embed_iter([loud], 8000, heard=lambda _, heard: told.append(heard)))
    assert told[0] == Heard(samples=1607, source_rate=RATE, channels=1, clipped=0)
    assert told[1] == Heard(samples=24_000, source_rate=RATE, channels=2, clipped=12_000)
    assert (told[2].samples, told[2].source_rate, told[2].channels) == (48_000, 8000, 2)


@pytest.mark.parametrize("x", [[0.1, 0.2], None, 3, {"a": 1}, [[0.1, 0.2]]])
def test_what_is_no_sound_is_refused(embedder: Embedder, x: Any) -> None:
    with pytest.raises(AudioError, match="is no sound: give a path"):
        embedder.embed(x, RATE)


@pytest.mark.parametrize(
    ("graph", "changes"),
    [
        (("float[4, 1, 4] taps = {1,", "float[4, 1, 4] taps = {nan,"), {}),
        (("", ""), {"frame_dim": 5}),
        (("", ""), {"hop": 320}),
        (("frames = Where (valid_, all_frames", "frames = Where (valid_, energy"), {}),
    ],
)
def test_a_graph_that_gives_other_than_it_says_is_refused(
    tmp_path: Path, write_clip_graph: Callable[..., Path], graph: tuple[str, str], changes: dict[str, Any]
) -> None:
    path = write_clip_graph(tmp_path / "m.onnx", graph=graph, **changes)
    with pytest.raises(CheckpointError, match=r"m\.onnx is a damaged model file"):
        Embedder.load(path).embed(sound(0.1), RATE, output="frames")


def test_models_that_are_none_for_clips(
    step_graph: Path, tmp_path: Path, write_clip_graph: Callable[..., Path]
) -> None:
    with pytest.raises(CheckpointError, match="is a step graph, for streams"):
        Embedder.load(step_graph)
    fixed = write_clip_graph(tmp_path / "owl-fixed.onnx", samples=80_000)
    with pytest.raises(CheckpointError, match=r"owl-fixed\.onnx takes 80000 samples and nothing else"):
        Embedder.load(fixed)
    with pytest.raises(CheckpointError, match="there is no model"):
        Embedder.load(tmp_path / "nowhere.onnx")
    with pytest.raises(ConfigError, match="cannot run on 0 threads"):
        Embedder.load(step_graph, threads=0)


def test_a_sparse_code_can_be_made_dense() -> None:
    code = SparseCode(np.array([[3, 0], [1, 2]]), np.array([[2, 1], [5, 4]], np.float32), 5)
    assert code.dense().tolist() == [[1, 0, 0, 2, 0], [0, 5, 4, 0, 0]]
    assert SparseCode(code.indices[0], code.values[0], 5).dense().tolist() == [1, 0, 0, 2, 0]
