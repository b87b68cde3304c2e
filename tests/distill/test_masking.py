import numpy as np
import pytest

from earkit.distill.masking import MaskConfig, span_mask


@pytest.mark.parametrize("frames", [3, 11, 12, 20, 49, 999])
def test_same_number_in_every_clip_and_never_all(frames: int) -> None:
    for seed in range(20):
        mask = span_mask(5, frames, MaskConfig(), np.random.default_rng(seed))
        counts = mask.sum(1)
        assert mask.shape == (5, frames)
        assert len(set(counts.tolist())) == 1
        assert 0 < counts[0] < frames


def test_share_of_masked_frames_is_that_of_random_spans() -> None:
    """0.8 of start mass in spans of 10: a frame stays visible with about exp(-0.8), as spans overlap."""
    masks = [span_mask(1, 1000, MaskConfig(), np.random.default_rng(s)).mean() for s in range(50)]
    assert np.mean(masks) == pytest.approx(1 - np.exp(-0.8), abs=0.02)


def test_single_clip_is_made_of_whole_spans() -> None:
    mask = span_mask(1, 500, MaskConfig(), np.random.default_rng(0))[0]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    assert ((edges[1::2] - edges[::2]) >= 10).all()


def test_expected_number_of_spans() -> None:
    """Rounding of probability * frames / length is random, so its mean is exact: 0.8 * 49 / 10 = 3.92."""
    config = MaskConfig(length=1)  # then every span is one frame, and starts are drawn without repetition
    counts = [span_mask(1, 49, MaskConfig(0.0816, 1), np.random.default_rng(s)).sum() for s in range(400)]
    assert config.length == 1
    assert np.mean(counts) == pytest.approx(49 * 0.0816, abs=0.1)
