"""Sound that does not say what it is: raw samples, raw mu-law and raw GSM frames."""

import struct
from pathlib import Path

import soundfile

from earkit.runtime.audio import Audio, read

_PCM, _MU_LAW = 1, 7  # as a WAV header tells them
_GSM_RATE = 8000
_GSM_FRAME, _GSM_SAMPLES = 33, 160  # bytes of GSM 06.10 and what they hold


def read_unsigned_8_bit(samples: bytes, rate: int, *, name: str) -> Audio:
    """Decode mono samples from 0 to 255, silence at 128."""
    return read(_wav(samples, rate, bits=8), name=name)


def read_mu_law(samples: bytes, rate: int, *, name: str) -> Audio:
    """Decode mono samples of G.711's mu-law, eight bits each."""
    return read(_wav(samples, rate, bits=8, coding=_MU_LAW), name=name)


def read_16_bit(samples: bytes, rate: int, *, name: str) -> Audio:
    """Decode mono little-endian samples from -32768 to 32767."""
    return read(_wav(samples, rate, bits=16), name=name)


def read_gsm(path: Path) -> Audio:
    """Decode frames of GSM 06.10, which libsndfile reads but cannot seek in."""
    frames = path.stat().st_size // _GSM_FRAME * _GSM_SAMPLES
    with soundfile.SoundFile(path, format="RAW", subtype="GSM610", samplerate=_GSM_RATE, channels=1) as sound:
        samples = sound.read(frames, dtype="int16").astype("<i2").tobytes()
    return read_16_bit(samples, _GSM_RATE, name=str(path))


def _wav(samples: bytes, rate: int, *, bits: int, coding: int = _PCM) -> bytes:
    """Put a header before mono samples."""
    size = bits // 8
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, coding, 1, rate, rate * size, size, bits)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(kind) + len(data), b"WAVE") + kind + data
