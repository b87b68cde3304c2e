"""Streams over a graph known in closed form: whatever is pushed, the frames of the whole sound come out."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.runtime.audio import read
from earkit.runtime.errors import AudioError, ConfigError
from earkit.runtime.stream import Stream, StreamFrames
from earkit.runtime.streaming_model import StreamingModel

HOP = 160


@pytest.fixture(scope="module")
def model(step_graph: Path) -> StreamingModel:
    return StreamingModel.load(step_graph)


def noise(samples: int, channels: int = 0, seed: int = 0) -> np.ndarray:
    shape = (samples, channels) if channels else samples
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def frames_of(sound: np.ndarray) -> np.ndarray:
    """Frames of a whole sound: the energies of the hop before, its own and two after. -> (time, 4)."""
    time = -(-len(sound) // HOP)
    energy = [np.square(sound[HOP * k : HOP * (k + 1)].astype(np.float64)).sum() for k in range(time)]
    around = np.array([0, *energy, 0, 0])
    return np.stack([around[k : k + 4] for k in range(time)]) if time else np.zeros((0, 4))


def pieces(sound: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Pieces of a size; 0 stands for sizes at random, many of them nothing."""
    rng, at = np.random.default_rng(1), 0
    while at < len(sound):
        now = size or int(rng.choice([0, 1, 37, 160, 700, 5000]))
        yield sound[at : at + now]
        at += now


def play(stream: Stream, sound: np.ndarray, size: int) -> StreamFrames:
    """Everything that comes out, joined; each part says where it begins."""
    given = [stream.push(piece) for piece in pieces(sound, size)] + [stream.flush()]
    starts = np.cumsum([0, *map(len, given)])
    assert [each.start for each in given] == starts[:-1].tolist()
    assert [each.seconds for each in given] == [pytest.approx(start / 100) for start in starts[:-1]]
    return StreamFrames(
        0, 0.0, np.concatenate([x.frames for x in given]), np.concatenate([x.tokens for x in given])
    )


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 1280, 7000, 12_801])
def test_any_chunks_give_the_frames_of_the_whole_sound(model: StreamingModel, length: int) -> None:
    sound, wanted = noise(length), frames_of(noise(length))
    outs = [play(model.stream(), sound, size) for size in (1, 37, 160, 1600, 100_000, 0)]
    for out in outs:
        np.testing.assert_allclose(out.frames, wanted, atol=1e-5)
        assert out.tokens.tolist() == wanted.argmax(1).tolist()
        assert out.frames.tobytes() == outs[0].frames.tobytes()


@pytest.mark.parametrize("step_ms", [10, 30, 80, 320])
def test_frames_come_when_their_step_is_whole(model: StreamingModel, step_ms: int) -> None:
    stream, sound, got, worst = model.stream(step_ms=step_ms), noise(16_000), 0, 0.0
    for fed in range(16, 16_001, 16):  # by milliseconds
        given = stream.push(sound[fed - 16 : fed])
        if len(given):
            worst = max(worst, fed / 16 - 1000 * given.seconds)
        got += len(given)
        assert got == max(0, fed // (16 * step_ms) * step_ms // 10 - 2)
    assert stream.latency_ms == 20 + step_ms
    # The sound of the first frame given has waited longest; the very first step gives fewer frames.
    assert worst == stream.latency_ms


def test_steps_are_of_whole_frames(model: StreamingModel) -> None:
    for step_ms in (0, -10, 15):
        with pytest.raises(ConfigError, match=f"steps of {step_ms} ms: give a multiple of 10"):
            model.stream(step_ms=step_ms)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44_100, 2), (48_000, 1), (22_050, 3)])
def test_another_rate_is_as_the_file_of_that_rate(
    model: StreamingModel, rate: int, channels: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "earkit")
    sound = noise(rate // 2 + 17, channels) * 4  # beyond full scale now and then
    soundfile.write(tmp_path / "x.wav", sound, rate, subtype="FLOAT")
    decoded = read(tmp_path / "x.wav").samples
    wanted = play(model.stream(), decoded, 1000)
    assert len(wanted) == len(frames_of(decoded)) > 50
    for size in (1, 37, 1600, 100_000):
        stream = model.stream(rate, channels=channels)
        given = play(stream, sound[:, 0] if channels == 1 else sound, size)
        assert given.frames.tobytes() == wanted.frames.tobytes()
    said = [f"a stream at {rate} Hz is resampled to 16000 Hz"]
    said += [f"a stream of {channels} channels is averaged to one"] if channels > 1 else []
    assert [each for each in caplog.messages if "clips" not in each] == said * 4


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_latency_counts_the_resampler(model: StreamingModel, rate: int) -> None:
    stream, sound, each, waited = model.stream(rate), noise(2 * rate), rate // 1000, []
    for fed in range(each, 2 * rate + 1, each):
        given = stream.push(sound[fed - each : fed])
        if len(given):
            waited.append(1000 * fed / rate - 1000 * given.seconds)
    assert stream.latency_ms - 81 <= max(waited) <= stream.latency_ms + 1


def test_sixteen_bits_are_fractions_of_full_scale(model: StreamingModel) -> None:
    sound = np.array([0, 1, -32_768, 32_767, 12_345] * 100, np.int16)
    given = play(model.stream(), sound, 37)
    np.testing.assert_allclose(given.frames, frames_of(sound / 32_768), rtol=1e-6)


def test_a_chunk_may_be_overwritten_after_it_was_pushed(model: StreamingModel) -> None:
    stream, sound, given = model.stream(), noise(3000), []
    buffer = np.zeros((100, 1), np.float32)  # as sound cards give it
    for piece in pieces(sound, 100):
        buffer[:, 0] = piece
        given.append(stream.push(buffer).frames)
    np.testing.assert_allclose(np.concatenate([*given, stream.flush().frames]), frames_of(sound), atol=1e-5)


def test_flush_ends_a_stream_and_reset_begins_another(model: StreamingModel) -> None:
    stream, sound = model.stream(8000), noise(4000)
    first = play(stream, sound, 700)
    assert len(stream.flush()) == 0
    with pytest.raises(ConfigError, match="has been flushed: call reset"):
        stream.push(sound)
    for _ in range(2):
        stream.reset()
        assert play(stream, sound, 90).frames.tobytes() == first.frames.tobytes()
    stream.reset()
    stream.push(3 * sound)
    stream.reset()  # in the middle
    assert stream.clipped == 0
    assert play(stream, sound, 90).frames.tobytes() == first.frames.tobytes()


def test_streams_of_one_model_know_nothing_of_each_other(model: StreamingModel) -> None:
    sounds = [noise(20_000, seed=seed) for seed in range(8)]
    wanted = [play(model.stream(), sound, 1000).frames for sound in sounds]
    streams = [model.stream() for _ in sounds]
    given: list[list[np.ndarray]] = [[] for _ in sounds]
    for at in range(0, 20_000, 500):  # in turns
        for stream, sound, own in zip(streams, sounds, given, strict=True):
            own.append(stream.push(sound[at : at + 500]).frames)
    for stream, own, whole in zip(streams, given, wanted, strict=True):
        assert np.concatenate([*own, stream.flush().frames]).tobytes() == whole.tobytes()
    with ThreadPoolExecutor(4) as threads:
        at_once = threads.map(lambda sound: play(model.stream(), sound, 37).frames, sounds)
        assert [each.tobytes() for each in at_once] == [each.tobytes() for each in wanted]


REFUSED = {
    "float64": (np.zeros(10), "a chunk of float64"),
    "int32": (np.zeros(10, np.int32), "a chunk of int32"),
    "list": ([0.0, 0.1], "a chunk of list"),
    "two channels": (np.zeros((10, 2), np.float32), r"shape \(10, 2\) .* give \(samples, 1\)"),
    "a number": (np.array(0.5, np.float32), r"shape \(\)"),
    "three axes": (np.zeros((10, 1, 1), np.float32), r"shape \(10, 1, 1\)"),
    "nan": (np.array([0, np.nan], np.float32), "not finite"),
    "infinity": (np.array([0, -np.inf], np.float32), "not finite"),
    "integers as floats": (np.array([0, -12_000], np.float32), "reaches 12000 where full scale is 1"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_refused_chunk_changes_nothing(model: StreamingModel, kind: str, rate: int) -> None:
    chunk, sentence = REFUSED[kind]
    stream, sound = model.stream(rate), noise(9000)
    given = [stream.push(sound[:5003]).frames]
    with pytest.raises(AudioError, match=sentence):
        stream.push(chunk)
    given += [stream.push(sound[5003:]).frames, stream.flush().frames]
    assert stream.clipped == 0
    assert np.concatenate(given).tobytes() == play(model.stream(rate), sound, 700).frames.tobytes()


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (999, 1), (1_000_001, 1), (16_000, 0), (16_000, 300)])
def test_absurd_rates_and_channels_are_refused(model: StreamingModel, rate: int, channels: int) -> None:
    with pytest.raises(ConfigError, match=f"a stream cannot have {rate} Hz and {channels} channels"):
        model.stream(rate, channels=channels)


def test_clipping_is_counted_cut_and_said_once(
    model: StreamingModel, caplog: pytest.LogCaptureFixture
) -> None:
    stream, sound = model.stream(), noise(1600)
    sound[900:910] = 1.5
    sound[1000:1005] = -1.0
    given = [stream.push(piece).frames for piece in pieces(sound, 100)]
    assert stream.clipped == 15
    assert caplog.messages == ["the stream clips, first at 0.1 s: record it with a lower level"]
    wanted = frames_of(sound.clip(-1, 1))
    np.testing.assert_allclose(np.concatenate([*given, stream.flush().frames]), wanted, atol=1e-5)
    stream.reset()
    stream.push(sound)
    assert stream.clipped == 15
    assert len(caplog.messages) == 1


def test_a_file_without_frames_gives_tokens_alone(
    tmp_path: Path, write_step_graph: Callable[..., Path]
) -> None:
    text = (
        "(float[batch, time, 4] frames, int64[batch] frame_lengths, int64",
        "(int64[batch] frame_lengths, int64",
    )
    outputs = ("frame_lengths", "tokens", "frame_start")
    stream = StreamingModel.load(write_step_graph(tmp_path / "t-stream.onnx", text, outputs=outputs)).stream()
    given = [stream.push(noise(5000)), stream.flush()]
    assert [each.frames for each in given] == [None, None]
    tokens = np.concatenate([each.tokens for each in given])
    assert tokens.tolist() == frames_of(noise(5000)).argmax(1).tolist()
    assert [len(each) for each in given] == [22, 10]


RESIDENT = """
import sys
from pathlib import Path

import numpy as np

from earkit.runtime.streaming_model import StreamingModel

model = StreamingModel.load(sys.argv[1])
streams = [model.stream(), model.stream(44_100, channels=2)]
sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 2)).astype(np.float32)
for call, size in enumerate(np.random.default_rng(1).integers(0, 500, 25_000)):
    stream = streams[call % 2]
    stream.push(sound[:size, : stream.channels])
    if call >= 5000 and call % 1000 == 0:
        print(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096)
"""
"""In a process of its own: what other tests left behind is given back, and taken again, at any time."""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the kernel does not tell resident memory")
def test_memory_stays_flat(step_graph: Path) -> None:
    """A leak grows in every thousand calls; the allocator takes a piece once in a while."""
    command = [sys.executable, "-c", RESIDENT, str(step_graph)]
    seen = [int(line) for line in subprocess.run(command, capture_output=True, check=True).stdout.split()]
    growth = np.median(np.diff(seen)) / 1000
    assert len(seen) == 20
    assert growth < 20, f"{growth:.1f} bytes per call"
