"""Raw PCM as it comes out of a pipe: interleaved samples without a header, little-endian."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["s16", "f32"]
"""16-bit integers, 32-bit floats in [-1, 1]: S16_LE and FLOAT_LE of `arecord`."""

_TYPES: dict[str, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}


class PCM:
    """Turns bytes, cut anywhere, into samples."""

    def __init__(self, form: Format, channels: int) -> None:
        self._type = _TYPES[form]
        self._channels = channels
        self._rest = b""

    def decode(self, data: bytes) -> NDArray[Any]:
        """Give the samples that are whole by now, (time, channels); the rest waits for the next bytes."""
        data = self._rest + data
        whole = len(data) - len(data) % (self._type.itemsize * self._channels)
        self._rest = data[whole:]
        samples = np.frombuffer(data[:whole], self._type).reshape(-1, self._channels)
        return samples.astype(self._type.newbyteorder("="), copy=False)

    @property
    def left(self) -> int:
        """Bytes that are no whole sample of all channels."""
        return len(self._rest)
