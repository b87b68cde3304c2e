"""Pooling of frames worked by hand, and what is chosen from."""

import numpy as np

from earkit.benchmarks.clip_vectors import clip_vectors, segment_means, standardised_by
from earkit.benchmarks.representations import Representation


def test_segments() -> None:
    frames = np.arange(8, dtype=np.float32)[:, None] * [1.0, -1.0]
    assert segment_means(frames.astype(np.float32)).tolist() == [0.5, -0.5, 2.5, -2.5, 4.5, -4.5, 6.5, -6.5]
    five = np.arange(5, dtype=np.float32)[:, None]
    assert segment_means(five).tolist() == [0.5, 1.5, 2.5, 3.5]  # 0-1, 1-2, 2-3, 3-4
    assert segment_means(five[:1]).tolist() == [0, 0, 0, 0]


def test_choices() -> None:
    def frames(samples: np.ndarray) -> dict[str, np.ndarray]:
        return {"low": samples.reshape(-1, 2), "high": -samples.reshape(-1, 2)}

    clips = [np.arange(16, dtype=np.float32), np.ones(8, np.float32)]
    made = clip_vectors(Representation("both", frames, 2, 1), clips)
    assert list(made) == ["low, mean", "low, 4 segments", "high, mean", "high, 4 segments"]
    assert made["low, mean"].tolist() == [[7, 8], [1, 1]]
    assert made["high, 4 segments"].shape == (2, 8)
    embedded = Representation("embedder", frames, 2, 1, vector=lambda samples: samples[:3])
    assert clip_vectors(embedded, clips)["embedding"].tolist() == [[0, 1, 2], [1, 1, 1]]
    assert list(clip_vectors(embedded, clips)) == ["embedding"]


def test_standardising_each_speaker() -> None:
    vectors = np.array([[1.0, 5], [3, 5], [10, 0], [30, 2]], np.float32)
    made = standardised_by(vectors, np.array(["x", "x", "y", "y"]))
    assert made.tolist() == [[-1, 0], [1, 0], [-1, -1], [1, 1]]
