"""Sounds as they are handed over: paths, bytes, files, arrays; all come out as windows at 16 kHz."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.runtime.arrays import array_blocks
from earkit.runtime.audio import Audio, Samples, Source, blocks
from earkit.runtime.errors import AudioError
from earkit.runtime.windows import Window, windows

Sound = Source | NDArray[Any]
"""A path, the bytes of an audio file, an open binary file, or an array of samples."""


@dataclass
class Heard:
    """What a sound was, and so what had to be done to it."""

    samples: int = 0
    """At 16 kHz."""
    source_rate: int = 0
    """Another than 16 kHz was resampled."""
    channels: int = 0
    """More than one were averaged."""
    clipped: int = 0
    """Samples beyond full scale."""


class OpenSound:
    """A sound of which the first window has been read; the others are, as they are asked for."""

    def __init__(
        self, sound: Sound, sample_rate: float | None, size: int, before: int = 0, after: int = 0
    ) -> None:
        self.heard = Heard()
        """Complete when all windows have been read."""
        samples = self._listen(open_blocks(sound, sample_rate))
        self._windows = windows(samples, size, before, after)
        self.first = next(self._windows)
        self._second = next(self._windows, None)

    @property
    def is_short(self) -> bool:
        """Whether the first window is all of it."""
        return self._second is None

    def windows(self) -> Iterator[Window]:
        """Give all windows, once."""
        yield self.first
        if self._second is not None:
            yield self._second
            yield from self._windows

    def _listen(self, given: Iterable[Audio]) -> Iterator[Samples]:
        heard = self.heard
        for audio in given:
            heard.source_rate, heard.channels = audio.source_rate, audio.channels
            heard.samples += len(audio.samples)
            heard.clipped += audio.clipped
            yield audio.samples


def open_blocks(sound: Sound, sample_rate: float | None) -> Iterator[Audio]:
    """Give the blocks of a sound. An array needs its rate; a file says its own, and must not say another."""
    if isinstance(sound, np.ndarray):
        return array_blocks(sound, sample_rate)
    if isinstance(sound, str | Path | bytes) or hasattr(sound, "read"):
        given = blocks(sound)
        return given if sample_rate is None else _of_rate(given, sample_rate)
    raise AudioError(
        f"a {type(sound).__name__} is no sound: give a path, the bytes of an audio file, an open file, or a "
        "NumPy array with its sample rate"
    )


def _of_rate(given: Iterator[Audio], sample_rate: float) -> Iterator[Audio]:
    for audio in given:
        if audio.source_rate != sample_rate:
            raise AudioError(
                f"a file of {audio.source_rate} Hz was given as one of {sample_rate} Hz: leave sample_rate "
                "out, files say it themselves"
            )
        yield audio
