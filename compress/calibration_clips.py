"""Sounds to calibrate on, and others to measure on: parts of a corpus as distillation cuts them."""

from dataclasses import dataclass
from pathlib import Path

from earkit.compress.graph import Samples
from earkit.distill.data.corpus import Clip, Corpus, open_corpus
from earkit.distill.data.segments import SegmentConfig, segments
from earkit.distill.retention import hold_out, some_segments
from earkit.distill.run_folder import INDEX
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.errors import DataError

CUT = SegmentConfig(workers=0)
MOST = 120
"""Segments of either part."""


@dataclass(frozen=True)
class Sound:
    """A segment: its samples, the clip that it is cut from, and where in it it begins."""

    samples: Samples
    clip: Clip
    start: int


@dataclass(frozen=True)
class CalibrationClips:
    """No clip, and where speakers are known no speaker, is on both sides."""

    calibration: tuple[Sound, ...]
    held_out: tuple[Sound, ...]
    source: str


def clips_of(place: Path) -> CalibrationClips:
    """Take a folder, a manifest, or whatever else is a corpus."""
    return _parted(open_corpus(place, split="train"))


def clips_of_run(folder: Path) -> CalibrationClips | None:
    """Take what a run was trained on, and what it held out; None where a folder is no run with data."""
    return _parted(Corpus.load(folder / INDEX)) if (folder / INDEX).is_file() else None


def embedded_clips() -> CalibrationClips:
    """Take the built-in synthetic speech."""
    return clips_of(default_corpus())


def _parted(corpus: Corpus) -> CalibrationClips:
    """Part a corpus as training does; of one too small for that, every fourth clip is measured on."""
    training, held = hold_out(corpus)
    if not held.clips:
        kept = tuple(clip for i, clip in enumerate(corpus.clips) if i % 4)
        training, held = Corpus(kept, (), corpus.source), Corpus(corpus.clips[::4], (), corpus.source)
    if not training.clips:
        raise DataError(f"{corpus.source} has one clip to calibrate and to measure on: give several")
    return CalibrationClips(_sounds(training), _sounds(held), corpus.source)


def _sounds(corpus: Corpus) -> tuple[Sound, ...]:
    cut = segments(corpus, CUT)
    batches = some_segments(corpus, CUT, MOST) if cut else []
    sounds = tuple(
        Sound(row[:length].numpy(), corpus.clips[cut[segment].clip], cut[segment].start)
        for batch in batches
        for row, length, segment in zip(batch.audio, batch.lengths.tolist(), batch.segments, strict=True)
    )
    if not sounds:
        raise DataError(
            f"none of {len(corpus.clips)} clips of {corpus.source} can be calibrated or measured on: each is "
            f"unreadable, silent or shorter than {CUT.min_seconds:g} s; give others with --calibration"
        )
    return sounds
