"""Sound files in: any format of libsndfile (wav, flac, ogg, opus, mp3, …), any rate, any channel count.

Out comes mono float32 at 16 kHz. Channels are averaged, other rates resampled by soxr. Integer formats end
in [-1, 1]; a float file may exceed it, and is left as it is.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earkit.runtime.errors import AudioError

Samples = NDArray[np.float32]
Source = str | Path | bytes | BinaryIO

SAMPLE_RATE = 16_000
RATES = (1_000, 768_000)
MOST_CHANNELS = 64
SILENCE = 1e-4
"""A peak below this (-80 dB of full scale) is digital silence."""
MARGIN = 0.05
"""Seconds decoded around a part, so that the resampler does not see its edges."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class AudioInfo:
    """What a header says."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Length."""
        return self.frames / self.rate


@dataclass(frozen=True)
class Audio:
    """A decoded sound: mono float32 at 16 kHz, and what it was."""

    samples: Samples
    source_rate: int
    channels: int


def probe(source: Source, name: str | None = None) -> AudioInfo:
    """Read a header; `name` stands for the source in errors."""
    with _open(source, name or _name(source)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames)


def read(
    source: Source, *, start: float = 0.0, seconds: float | None = None, name: str | None = None
) -> Audio:
    """Decode a sound or a part of it, in seconds from its beginning, without decoding what lies before."""
    name = name or _name(source)
    with _open(source, name) as file:
        rate, channels = file.samplerate, file.channels
        unit = rate // math.gcd(rate, SAMPLE_RATE)  # so many frames are a whole number of samples at 16 kHz
        first = min(round(start * rate), file.frames)
        last = file.frames if seconds is None else min(file.frames, first + round(seconds * rate))
        margin = math.ceil(MARGIN * rate / unit) * unit if rate != SAMPLE_RATE else 0
        before = min(margin, first // unit * unit)
        after = min(margin, file.frames - last)
        mono = _decode(file, first - before, last + after, name)
    if not np.isfinite(mono).all():
        raise AudioError(f"{name} holds NaN or infinite samples; export it again")
    if rate != SAMPLE_RATE:
        mono = resample(mono, rate)
        skipped = before // unit * (SAMPLE_RATE * unit // rate)
        mono = mono[skipped : skipped + round((last - first) * SAMPLE_RATE / rate)]
    return Audio(mono, rate, channels)


def resample(samples: Samples, rate: int) -> Samples:
    """To 16 kHz."""
    resampled: Samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return resampled


def is_silent(samples: Samples) -> bool:
    """Whether there is nothing to hear."""
    return len(samples) == 0 or float(np.abs(samples).max()) < SILENCE


def _name(source: Source) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "name", "audio data"))


def _open(source: Source, name: str) -> soundfile.SoundFile:
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise AudioError(f"{name} is not a file")
        if path.stat().st_size == 0:
            raise AudioError(f"{name} is empty (0 bytes)")
    elif isinstance(source, bytes) and not source:
        raise AudioError(f"{name} is empty (0 bytes)")
    try:
        file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        # Without a known extension soundfile takes a file for headerless audio and asks for its rate.
        raise AudioError(f"{name} is not a sound file that can be read: {error}") from error
    complaint = None
    if file.frames <= 0:
        complaint = "is empty (no samples)"
    elif not RATES[0] <= file.samplerate <= RATES[1]:
        complaint = f"claims a sample rate of {file.samplerate} Hz"
    elif not 1 <= file.channels <= MOST_CHANNELS:
        complaint = f"claims {file.channels} channels"
    if complaint:
        file.close()
        raise AudioError(f"{name} {complaint}")
    return file


def _decode(file: soundfile.SoundFile, first: int, last: int, name: str) -> Samples:
    """Decode in blocks, so that a header that lies about the length cannot ask for all memory."""
    blocks, wanted = [np.empty(0, np.float32)], last - first
    try:
        if first:
            file.seek(first)
        while wanted > 0:
            block = file.read(min(wanted, BLOCK), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block.mean(axis=1, dtype=np.float32) if file.channels > 1 else block[:, 0])
            wanted -= len(block)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"{name} is damaged: {error}") from error
    if wanted > 0:
        raise AudioError(f"{name} is truncated: {wanted} of {last - first} samples are missing")
    return np.concatenate(blocks)
