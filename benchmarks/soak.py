"""Memory over many sounds: 20,000 clips of random lengths through one embedder, in one process.

    python -m earkit.benchmarks.soak MODEL [--clips 20000] [--seed 0]

With a step graph: as many pushes of 0 to 2000 samples, to three streams in turns, at 16, 44.1 and 8 kHz.

Prints the memory after every twentieth of them, and what it gained per clip over the second half.
"""

import argparse
import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earkit.runtime.embedder import Embedder
from earkit.runtime.model_file import read_model_file
from earkit.runtime.streaming_model import StreamingModel

LONGEST = 10.0
"""Seconds; lengths are spread evenly over their logarithm, from 0.03 s on."""

RATES = (16_000, 44_100, 8_000)
"""Of streams."""
LONGEST_PUSH = 2000
"""Samples."""


@dataclass(frozen=True)
class Soak:
    """Clips (or pushes) done, and the memory of the process then, in bytes."""

    clips: list[int]
    resident: list[int]

    @property
    def slope(self) -> float:
        """Bytes for each, by least squares over the second half: in the first, the allocator settles."""
        half = len(self.clips) // 2
        return float(np.polyfit(self.clips[half:], self.resident[half:], 1)[0])


def sounds(count: int, seed: int = 0) -> Iterator[bytes]:
    """Give files of noise; every tenth is of another format and rate."""
    rng, noise = np.random.default_rng(seed), _noise(seed)
    for i in range(count):
        clip, file = noise[: int(len(noise) * 0.003 ** rng.random())], io.BytesIO()
        if i % 10:
            soundfile.write(file, clip, 16_000, format="WAV")
        else:
            soundfile.write(file, clip, 22_050, format="FLAC")
        yield file.getvalue()


def soak(model: Path, clips: int, seed: int = 0, every: int = 100) -> Soak:
    """Embed so many clips; memory is looked at after every so many."""
    return watched(Embedder.load(model, threads=1).embed_iter(sounds(clips, seed)), every)


def soak_streams(model: Path, pushes: int, seed: int = 0, every: int = 100) -> Soak:
    """Push that often; memory is looked at after every so many."""
    return watched(_pushes(StreamingModel.load(model), pushes, seed), every)


def _pushes(model: StreamingModel, count: int, seed: int) -> Iterator[object]:
    streams = [model.stream(rate) for rate in RATES]
    rng, sound = np.random.default_rng(seed), _noise(seed)
    for i in range(count):
        begin = int(rng.integers(len(sound) - LONGEST_PUSH))
        yield streams[i % len(streams)].push(sound[begin : begin + int(rng.integers(LONGEST_PUSH + 1))])


def watched(work: Iterable[object], every: int) -> Soak:
    """Do it, and look at memory after every so many."""
    seen = Soak([], [])
    for done, _ in enumerate(work, start=1):
        if done % every == 0:
            seen.clips.append(done)
            seen.resident.append(resident())
    return seen


def _noise(seed: int) -> NDArray[np.float32]:
    """Give as much of it as the longest clip holds."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(LONGEST * 16_000))).astype(np.float32)


def resident() -> int:
    """Memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m earkit.benchmarks.soak", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    streams = read_model_file(given.model).stream is not None
    seen = (soak_streams if streams else soak)(given.model, given.clips, given.seed)
    each = "push" if streams else "clip"
    for i in range(0, len(seen.clips), max(1, len(seen.clips) // 20)):
        print(f"{seen.clips[i]:>7}  {seen.resident[i] / 1e6:7.1f} MB")
    took, most = time.monotonic() - began, max(seen.resident) / 1e6
    print(f"{seen.clips[-1]} in {took:.0f} s, at most {most:.1f} MB")
    print(f"in the second half {seen.slope:+.1f} bytes a {each}")


if __name__ == "__main__":
    main()
