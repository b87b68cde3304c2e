"""Decoding, against closed forms and slices of the whole, and everything that can be wrong with a file."""

import io
import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import earkit.runtime.audio as audio_module
from earkit.runtime.audio import SAMPLE_RATE, AudioInfo, Source, blocks, is_silent, probe, read
from earkit.runtime.errors import AudioError

FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}
RATES = [8000, 11025, 22050, 44100, 48000, 16001]


def tone(rate: int, seconds: float = 2.0, hertz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def noise(rate: int, seconds: float = 3.0) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(rate * seconds))


def encoded(
    samples: NDArray[np.floating], rate: int = SAMPLE_RATE, kind: str = "wav", **options: str
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **(FORMATS[kind] | options))
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_give_the_sound_back(kind: str) -> None:
    data = encoded(tone(SAMPLE_RATE), kind=kind)
    assert probe(data) == AudioInfo(SAMPLE_RATE, 1, 2 * SAMPLE_RATE)
    audio = read(data)
    assert (audio.samples.dtype, audio.source_rate, audio.channels) == (np.float32, SAMPLE_RATE, 1)
    tolerance = 2**-15 if kind in {"wav", "flac"} else 0.03
    inner = slice(2000, -2000)  # codecs smear the sudden begin and end
    np.testing.assert_allclose(audio.samples[inner], tone(SAMPLE_RATE)[inner], atol=tolerance)


@pytest.mark.parametrize("rate", RATES)
def test_resampled_sine_is_the_sine_at_16_khz(rate: int) -> None:
    audio = read(encoded(tone(rate, hertz=1000), rate, subtype="FLOAT"))
    assert audio.source_rate == rate
    expected = tone(SAMPLE_RATE, hertz=1000)
    assert len(audio.samples) == len(expected)
    np.testing.assert_allclose(audio.samples[800:-800], expected[800:-800], atol=1e-5)


def test_what_16_khz_cannot_hold_is_removed() -> None:
    audio = read(encoded(tone(48000, hertz=10_000), 48000, subtype="FLOAT"))
    assert np.abs(audio.samples[800:-800]).max() < 1e-4


def test_downmix_is_the_mean_of_the_channels() -> None:
    left, right = tone(SAMPLE_RATE, hertz=440), tone(SAMPLE_RATE, hertz=990) / 3
    audio = read(encoded(np.stack([left, right], axis=1), subtype="FLOAT"))
    assert audio.channels == 2
    np.testing.assert_allclose(audio.samples, (left + right) / 2, atol=1e-7)


def test_8_khz_stereo() -> None:
    audio = read(encoded(np.stack([tone(8000), tone(8000)], axis=1), 8000))
    assert (audio.source_rate, audio.channels, len(audio.samples)) == (8000, 2, 2 * SAMPLE_RATE)
    np.testing.assert_allclose(audio.samples[800:-800], tone(SAMPLE_RATE)[800:-800], atol=1e-4)


@pytest.mark.parametrize("rate", [16000, *RATES])
@pytest.mark.parametrize(("start", "seconds"), [(0.0, 0.5), (0.7001, 1.25), (2.2, 5.0), (1.3, None)])
def test_part_is_the_slice_of_the_whole(rate: int, start: float, seconds: float | None) -> None:
    data = encoded(noise(rate), rate, subtype="FLOAT")
    first = round(start * SAMPLE_RATE)
    stop = None if seconds is None else first + round(seconds * SAMPLE_RATE)
    part = read(data, start=start, seconds=seconds).samples
    expected = read(data).samples[first:stop]
    assert part.shape == expected.shape
    np.testing.assert_allclose(part, expected, atol=0 if rate == SAMPLE_RATE else 1e-5)


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("start", [3.21, 0.05, 4.9])
def test_part_of_a_compressed_file_is_the_slice_of_the_whole(kind: str, start: float) -> None:
    data = encoded(tone(SAMPLE_RATE, seconds=6, hertz=333), kind=kind)  # a tone: small frames in a VBR mp3
    first = round(start * SAMPLE_RATE)
    part = read(data, start=start, seconds=1.0).samples
    np.testing.assert_allclose(part, read(data).samples[first : first + SAMPLE_RATE], atol=1e-4)


@pytest.mark.parametrize("kind", FORMATS)
def test_long_files_have_no_seams(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(tone(SAMPLE_RATE, seconds=6, hertz=333), kind=kind)
    whole = read(data).samples
    monkeypatch.setattr(audio_module, "_BLOCK", 20_000)
    np.testing.assert_allclose(read(data).samples, whole, atol=1e-4)


def test_reading_a_part_decodes_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    original = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, frames: int, **options: object) -> NDArray[np.float32]:
        decoded.append(frames)
        return original(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    read(encoded(noise(44100, 20.0), 44100, "flac"), start=15.0, seconds=1.0)
    assert sum(decoded) < 1.2 * 44100


def test_sources(tmp_path: Path) -> None:
    data = encoded(tone(SAMPLE_RATE))
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    strange.write_bytes(data)
    with path.open("rb") as file:
        sources: list[Source] = [path, str(path), data, io.BytesIO(data), file, strange]
        for source in sources:
            np.testing.assert_allclose(read(source).samples, tone(SAMPLE_RATE), atol=2**-15)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(encoded(tone(SAMPLE_RATE, 0.5)))
    with os.fdopen(reading, "rb") as pipe:
        assert len(read(pipe).samples) == SAMPLE_RATE // 2


def test_samples_beyond_full_scale_are_clipped_and_counted() -> None:
    audio = read(encoded(np.array([0.5, 1.5, -3.0, 1.0]), subtype="FLOAT"))
    assert (audio.samples.tolist(), audio.clipped) == ([0.5, 1.0, -1.0, 1.0], 2)
    with pytest.raises(AudioError, match="reaches 32768 where full scale is 1"):
        read(encoded(np.array([0.0, 32768.0]), subtype="FLOAT"))


def test_silence() -> None:
    assert is_silent(np.zeros(100, np.float32))
    assert is_silent(np.full(100, -9e-5, np.float32))
    assert not is_silent(np.full(100, -2e-4, np.float32))


def streamed(wav: bytes, size: int) -> bytes:
    """A WAV as a program writes it to a pipe, when it cannot know the size."""
    place = wav.index(b"data") + 4
    return wav[:place] + struct.pack("<I", size) + wav[place + 4 :]


def test_streamed_wav_is_not_truncated() -> None:
    data = encoded(tone(SAMPLE_RATE))
    for size in (0xFFFF_FFFF, 0x7FFF_F000):
        assert len(read(streamed(data, size)).samples) == 2 * SAMPLE_RATE


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_truncated(kind: str) -> None:
    data = encoded(noise(SAMPLE_RATE), kind=kind)
    with pytest.raises(AudioError, match=r"a\.x is (truncated|damaged)"):
        read(data[: len(data) * 2 // 3], name="a.x")


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_truncated_without_a_length_in_the_header(kind: str) -> None:
    data = encoded(noise(SAMPLE_RATE, 9.0), kind=kind)
    left, whole = read(data[: len(data) * 2 // 3]).samples, read(data).samples
    assert 3 * SAMPLE_RATE < len(left) < 7 * SAMPLE_RATE
    np.testing.assert_allclose(left[:-2000], whole[: len(left) - 2000], atol=1e-4)


def test_damage_in_the_middle_of_a_flac() -> None:
    data = bytearray(encoded(noise(SAMPLE_RATE), kind="flac"))
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    with pytest.raises(AudioError, match=r"damaged|truncated"):
        read(bytes(data))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float, tmp_path: Path) -> None:
    samples = tone(SAMPLE_RATE)
    samples[7] = value
    path = tmp_path / "bad.wav"
    path.write_bytes(encoded(samples, subtype="FLOAT"))
    with pytest.raises(AudioError, match=r"bad\.wav holds samples that are not finite"):
        read(path)


def header(rate: int, channels: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes(bytes(2 * channels * 4))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty .0 bytes."),
        (encoded(np.zeros(0)), "is empty .no samples."),
        (b"this is a text that somebody renamed\n" * 50, "is damaged or not audio"),
        (header(2_000_000, 1), "claims 2000000 Hz"),
        (header(10, 1), "claims 10 Hz"),
        (header(16000, 1000), "claims|not audio"),
    ],
)
def test_unusable(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    for source, name in ((path, str(path)), (content, "audio of ")):
        for function in (read, probe):
            with pytest.raises(AudioError, match=sentence) as caught:
                function(source)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)


def test_no_file_to_read(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"cannot read .*gone\.wav: No such file"):
        read(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="is not a file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match=r"is empty|is not a file"):
        read(tmp_path / "pipe.wav")
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(AudioError, match="has no header"):
        read(tmp_path / "a.raw")


def test_parts_that_do_not_exist() -> None:
    data = encoded(tone(SAMPLE_RATE))
    with pytest.raises(AudioError, match=r"is 2\.000 s long: nothing stands at 2\.5"):
        read(data, start=2.5)
    for start, seconds in ((-1.0, None), (0.0, 0.0), (float("nan"), None), (0.0, float("inf"))):
        with pytest.raises(AudioError, match="give a start of 0 or above"):
            read(data, start=start, seconds=seconds)


def test_a_header_that_promises_years_costs_no_memory() -> None:
    data = bytearray(encoded(tone(SAMPLE_RATE), kind="flac"))
    # STREAMINFO begins at byte 8; its total of samples is the low 36 bits that end at byte 26.
    data[21] |= 0x0F
    data[22:26] = b"\xff\xff\xff\xff"
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        read(bytes(data))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_blocks_joined_are_the_whole(kind: str, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stereo = np.stack([tone(rate, 6, hertz=333), tone(rate, 6, hertz=555)], axis=1)
    data = encoded(stereo, rate, kind)
    whole = read(data)
    monkeypatch.setattr(audio_module, "_BLOCK", 40_000)
    given = list(blocks(data))
    assert len(given) > 4
    assert {(audio.source_rate, audio.channels) for audio in given} == {(rate, 2)}
    np.testing.assert_allclose(
        np.concatenate([audio.samples for audio in given]),
        whole.samples,
        atol=1e-4 if kind == "mp3" else 1e-6,
    )


def test_blocks_are_read_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tone(SAMPLE_RATE, 6)
    samples[-1] = np.nan
    monkeypatch.setattr(audio_module, "_BLOCK", 20_000)
    given = blocks(encoded(samples, subtype="FLOAT"), name="a.wav")
    assert [len(next(given).samples) for _ in range(4)] == [20_000] * 4
    with pytest.raises(AudioError, match=r"a\.wav holds samples that are not finite"):
        next(given)


def test_blocks_are_clipped_and_counted() -> None:
    (block,) = blocks(encoded(np.array([0.5, 1.5, -3.0, 1.0]), subtype="FLOAT"))
    assert (block.samples.tolist(), block.clipped) == ([0.5, 1.0, -1.0, 1.0], 2)
    with pytest.raises(AudioError, match="reaches 32768 where full scale is 1"):
        list(blocks(encoded(np.array([0.0, 32768.0]), subtype="FLOAT")))


def test_a_sound_too_short_for_16_khz() -> None:
    with pytest.raises(AudioError, match=r"a\.wav is too short: it has no sample at 16000 Hz"):
        list(blocks(encoded(np.zeros(1), 1_000_000), name="a.wav"))


@pytest.mark.parametrize("suffix", [".au", ".snd", ".AU"])
def test_a_file_is_no_sound_for_its_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"text{suffix}").write_bytes(b"This is no sound at all, but text. " * 99)
    with pytest.raises(AudioError, match="has no header that says its rate"):
        read(tmp_path / f"text{suffix}")
