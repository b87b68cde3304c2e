"""Memory stays bounded over clips of random lengths; a shorter soak than the benchmark's."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks import soak as module
from earkit.benchmarks.soak import Soak, soak, sounds


def test_lengths_are_spread_and_every_tenth_is_another_format() -> None:
    infos = [soundfile.info(io.BytesIO(data)) for data in sounds(200)]
    lengths = np.array([info.frames for info in infos])
    assert lengths.max() <= 160_000
    assert lengths.min() >= 480
    assert abs(np.log(lengths / 160_000).mean() - np.log(0.003) / 2) < 0.5  # even over the logarithm
    assert [info.format for info in infos[:11]] == ["FLAC", *["WAV"] * 9, "FLAC"]


def test_the_slope_is_of_the_second_half() -> None:
    seen = Soak([100, 200, 300, 400, 500, 600], [0, 9000, 50_000, 40_000, 41_000, 42_000])
    assert seen.slope == pytest.approx(10.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells resident memory so")
def test_memory_stays_bounded(clip_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 2.0)
    seen = soak(clip_model, 3000)
    assert seen.clips == list(range(100, 3001, 100))
    grown = max(seen.resident) - max(seen.resident[:15])  # the longest clips come in the first half, too
    assert grown < 4_000_000, f"{grown / 1500:.0f} bytes a clip"
