"""Spans of frames: within their clips, as long as asked, and cut to the sample; against loops."""

import numpy as np
import pytest
import torch
from torch import Tensor

from earkit.distill.spans import SpanConfig, Spans, cut_out, draw_spans, ordered_means, played, whole
from earkit.runtime.errors import ConfigError

FRAMES = torch.tensor([50, 1, 7, 30])
CONFIG = SpanConfig(per_clip=3, min_seconds=0.2, max_seconds=0.8)


def drawn(seed: int = 0) -> Spans:
    return draw_spans(FRAMES, CONFIG, np.random.default_rng(seed))


def listed(spans: Spans) -> list[tuple[int, list[int]]]:
    """Clip and frames of each span, without those that do not count."""
    rows = zip(spans.row.tolist(), spans.frames, spans.counted, strict=True)
    return [(row, frames[counted].tolist()) for row, frames, counted in rows]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_spans_are_runs_of_frames_of_their_clip() -> None:
    for seed in range(50):
        spans = listed(drawn(seed))
        assert [clip for clip, _ in spans] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        for clip, frames in spans:
            assert frames == list(range(frames[0], frames[0] + len(frames)))
            assert frames[0] >= 0
            assert frames[-1] < FRAMES[clip]
            assert min(5, FRAMES[clip]) <= len(frames) <= 20


def test_frames_that_do_not_count_repeat_the_last() -> None:
    spans = drawn()
    assert spans.frames.shape[1] == max(len(frames) for _, frames in listed(spans))
    for frames, counted in zip(spans.frames, spans.counted, strict=True):
        assert (frames[~counted] == frames[counted][-1]).all()


def test_a_clip_shorter_than_a_span_is_taken_whole() -> None:
    longest = SpanConfig(per_clip=2, min_seconds=1.0, max_seconds=1.0)
    assert listed(draw_spans(torch.tensor([4, 25]), longest, np.random.default_rng(0))) == [
        *[(0, [0, 1, 2, 3])] * 2,
        *[(1, list(range(25)))] * 2,
    ]


def test_lengths_are_even_on_a_logarithmic_scale_and_starts_over_the_clip() -> None:
    config = SpanConfig(per_clip=20_000, min_seconds=0.4, max_seconds=6.4)  # 10 to 160 frames
    spans = draw_spans(torch.tensor([400]), config, np.random.default_rng(0))
    sizes, starts = spans.counted.sum(1).numpy(), spans.frames[:, 0].numpy()
    assert (sizes.min(), sizes.max()) == (10, 160)
    for quarter, frames in enumerate((20, 40, 80), start=1):
        assert np.mean(sizes < frames) == pytest.approx(quarter / 4, abs=0.02)
    place = starts / (400 - sizes)
    assert np.histogram(place, bins=4, range=(0, 1))[0] / 20_000 == pytest.approx([0.25] * 4, abs=0.02)
    assert (starts + sizes).max() == 400


def test_the_same_stream_draws_the_same() -> None:
    assert listed(drawn(3)) == listed(drawn(3)) != listed(drawn(4))


def test_of_takes_the_frames() -> None:
    x, spans = random(4, 50, 3), drawn()
    taken = spans.of(x)
    for i, (clip, frames) in enumerate(listed(spans)):
        assert torch.equal(taken[i, : len(frames)], x[clip, frames])


def test_cut_out_gives_exactly_those_samples() -> None:
    lengths = torch.tensor([50 * 640, 1, 6 * 640 + 17, 29 * 640 + 639])
    audio = random(4, 50 * 640 + 99)  # noise behind the ends, too
    spans = drawn()
    cuts, sizes = cut_out(audio, lengths, spans)
    ended = 0
    for i, (clip, frames) in enumerate(listed(spans)):
        begin, end = 640 * frames[0], min(640 * (frames[-1] + 1), int(lengths[clip]))
        ended += end == lengths[clip]
        assert sizes[i] == end - begin
        assert torch.equal(cuts[i, : sizes[i]], audio[clip, begin:end])
        assert not cuts[i, sizes[i] :].any()
    assert cuts.shape == (12, sizes.max())
    assert ended > 3


@pytest.mark.parametrize("parts", [1, 3, 4])
def test_ordered_means_are_those_of_equal_parts(parts: int) -> None:
    x, spans = random(4, 50, 3), drawn()
    valid = torch.rand(4, 50, generator=torch.Generator().manual_seed(1)) < 0.6
    valid[1] = False
    means = ordered_means(x, spans, valid, parts)
    assert means.shape == (12, 3 * parts)
    for i, (clip, frames) in enumerate(listed(spans)):
        for part in range(parts):
            begin, end = len(frames) * part / parts, len(frames) * (part + 1) / parts
            good = [
                x[clip, f] for rank, f in enumerate(frames) if begin <= rank + 0.5 < end and valid[clip, f]
            ]
            expected = torch.stack(good).mean(0) if good else torch.zeros(3)
            torch.testing.assert_close(means[i, 3 * part : 3 * part + 3], expected)
    assert not means[3:6].any()


def test_the_order_of_frames_is_in_the_order_of_parts() -> None:
    x = torch.arange(12.0).reshape(1, 12, 1)
    spans = Spans(torch.tensor([0]), torch.arange(2, 10)[None], torch.ones(1, 8, dtype=torch.bool))
    everywhere = torch.ones(1, 12, dtype=torch.bool)
    assert ordered_means(x, spans, everywhere, 4).tolist() == [[2.5, 4.5, 6.5, 8.5]]
    assert ordered_means(x, spans, everywhere, 1).tolist() == [[5.5]]


def test_a_whole_clip_is_a_span_without_its_padding() -> None:
    valid = torch.arange(50) < FRAMES[:, None]
    spans = whole(valid)
    assert listed(spans) == [(clip, list(range(n))) for clip, n in enumerate(FRAMES.tolist())]
    x = random(4, 50, 3)
    expected = torch.stack([x[clip, :n].mean(0) for clip, n in enumerate(FRAMES.tolist())])
    torch.testing.assert_close(ordered_means(x, spans, valid, 1), expected)


@pytest.mark.parametrize(
    "wrong",
    [{"per_clip": 0}, {"parts": 0}, {"min_seconds": 0.03}, {"min_seconds": 0.5, "max_seconds": 0.4}],
)
def test_spans_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"spans.per_clip .* must be at least 1"):
        SpanConfig(**wrong)


def test_cuts_are_played_faster_and_higher() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(8000) / 16_000).astype(np.float32)
    cuts = torch.from_numpy(np.stack([tone, tone]))
    config = SpanConfig(speed=(1.25, 1.25))
    made, sizes = played(cuts, torch.tensor([8000, 4000]), config, np.random.default_rng(0))
    assert sizes.tolist() == [6400, 3200]
    spectrum = np.abs(np.fft.rfft(made[0].numpy()))
    assert np.argmax(spectrum) * 16_000 / 6400 == pytest.approx(625, abs=5)
    assert not made[1, 3200:].any()


def test_cuts_stay_as_they_are_at_speed_one() -> None:
    cuts = torch.randn(3, 900)
    made, sizes = played(
        cuts, torch.tensor([900, 500, 900]), SpanConfig(speed=(1, 1)), np.random.default_rng(0)
    )
    assert torch.equal(made[0], cuts[0])
    assert torch.equal(made[1, :500], cuts[1, :500])
    assert sizes.tolist() == [900, 500, 900]
