"""Single words and whole utterances out of the embedded corpus, for retrieval, speaker probes and tasks.

Words are taken from the speakers in turns, so that a talkative one does not stand for a word.
"""

import csv
import io
import logging
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earkit.distill.speech.prosody import Span
from earkit.distill.speech.synthetic_corpus import MANIFEST, LabelledClip, read_labels
from earkit.runtime.audio import SAMPLE_RATE, read
from earkit.runtime.errors import DataError, StorageError

Samples = NDArray[np.float32]

COLUMNS = ("path", "label", "speaker", "split")
MARGIN = 160  # samples, 10 ms, on each side of a word that is written as a clip
LEAST_CLIP = 1600  # samples; a corpus leaves out what is shorter than 0.1 s

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpokenWord:
    """One word as one speaker said it once; samples: (n,), 16 kHz."""

    samples: Samples
    word: str
    speaker: str


@dataclass(frozen=True)
class SpokenUtterance:
    """A whole clip; samples: (n,), 16 kHz. `name` is unique among the speaker's."""

    samples: Samples
    name: str
    speaker: str


@dataclass(frozen=True)
class _Token:
    """Where a word stands."""

    clip: LabelledClip
    span: Span


def words(
    manifest: Path,
    split: str,
    *,
    seed: int,
    most_per_word: int = 20,
    least_per_word: int = 2,
    least_samples: int = 1600,
) -> tuple[SpokenWord, ...]:
    """Cut words out of the utterances of a split, in alphabetical order.

    Tokens below `least_samples` are left out, then words with fewer than `least_per_word` tokens; of the
    others come at most `most_per_word`, each speaker's second one only after every speaker's first.
    """
    tokens = _choose(manifest, split, seed, (least_per_word, most_per_word), least_samples)
    return tuple(
        SpokenWord(samples, token.span.label, token.clip.speaker)
        for token, samples in zip(tokens, _cut(tokens, margin=0), strict=True)
    )


def utterances(manifest: Path, split: str, seed: int, per_speaker: int) -> tuple[SpokenUtterance, ...]:
    """Pick at most so many utterances of each speaker at random, speaker by speaker."""
    rng = np.random.default_rng(seed)
    by_speaker: dict[str, list[LabelledClip]] = defaultdict(list)
    for clip in _of_split(manifest, split):
        by_speaker[clip.speaker].append(clip)
    return tuple(
        SpokenUtterance(read(clip.path).samples, clip.path.stem, speaker)
        for speaker, clips in sorted(by_speaker.items())
        for clip in (clips[i] for i in rng.permutation(len(clips))[:per_speaker])
    )


def write_words(
    manifest: Path, split: str, out_folder: Path, per_word: int, seed: int, *, speakers: int = 0
) -> Path:
    """Make a labelled corpus of `per_word` clips of each word of a split, and give its manifest.

    Words that were said less often are left out. With `speakers`, so many are drawn and heard alone: of
    each word there are the clips that they have, two to `per_word`. FLAC of 16 bits keeps the samples as they
    were.
    """
    out = out_folder.resolve()  # `.` has no name to put a hidden folder beside
    if out.exists():
        raise DataError(f"{out} is there already: remove it or choose another place")
    least = 2 if speakers else per_word
    tokens = _choose(manifest, split, seed, (least, per_word), LEAST_CLIP, speakers=speakers)
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        draft.mkdir(parents=True)
        _write(draft, tokens, split)
        draft.rename(out)
    except OSError as error:
        raise StorageError(
            f"could not write {out}: {error.strerror or error}; free some space or choose another place"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out / MANIFEST


def _of_split(manifest: Path, split: str) -> list[LabelledClip]:
    everything = read_labels(manifest)
    clips = [clip for clip in everything if clip.split == split]
    if not clips:
        there = ", ".join(sorted({clip.split for clip in everything}))
        raise DataError(f"{manifest} has no clip of the split {split}: give one of {there}")
    return clips


def _choose(
    manifest: Path,
    split: str,
    seed: int,
    per_word: tuple[int, int],
    least_samples: int,
    *,
    speakers: int = 0,
) -> list[_Token]:
    """Choose tokens of each word, least to most of them, in alphabetical order of the words."""
    least, most = per_word
    rng = np.random.default_rng(seed)
    clips = _of_split(manifest, split)
    if speakers:
        drawn = rng.permutation(sorted({clip.speaker for clip in clips}))[:speakers]
        clips = [clip for clip in clips if clip.speaker in drawn]
    by_word: dict[str, list[_Token]] = defaultdict(list)
    for clip in clips:
        for span in clip.words:
            if span.end - span.start >= least_samples:
                by_word[span.label].append(_Token(clip, span))
    frequent = sorted(word for word, tokens in by_word.items() if len(tokens) >= least)
    if not frequent:
        commonest = max(map(len, by_word.values()), default=0)
        raise DataError(
            f"no word is said {least} times in the split {split} of {manifest} (the commonest one "
            f"{commonest} times): ask for fewer, or make a longer corpus"
        )
    log.info("%d of %d words are said %d times or more", len(frequent), len(by_word), least)
    return [token for word in frequent for token in _in_turns(by_word[word], rng)[:most]]


def _in_turns(tokens: Sequence[_Token], rng: np.random.Generator) -> list[_Token]:
    """Order at random, but so that each round has one token of every speaker who still has one."""
    shuffled = [tokens[i] for i in rng.permutation(len(tokens))]
    heard: Counter[str] = Counter()
    rounds = []
    for token in shuffled:
        rounds.append(heard[token.clip.speaker])
        heard[token.clip.speaker] += 1
    return [shuffled[i] for i in np.argsort(rounds, kind="stable")]


def _cut(tokens: Sequence[_Token], margin: int) -> list[Samples]:
    """Decode each clip once, and give the samples of each token."""
    of_clip: dict[Path, list[int]] = defaultdict(list)
    for index, token in enumerate(tokens):
        of_clip[token.clip.path].append(index)
    cut: dict[int, Samples] = {}
    for path, indices in of_clip.items():
        whole = read(path).samples
        for index in indices:
            span = tokens[index].span
            if not 0 <= span.start < span.end <= len(whole):
                raise DataError(
                    f"{path} has {len(whole)} samples, and its word {span.label} is to be at {span.start} to "
                    f"{span.end}: correct the manifest"
                )
            cut[index] = whole[max(0, span.start - margin) : span.end + margin].copy()
    return [cut[index] for index in range(len(tokens))]


def _write(folder: Path, tokens: Sequence[_Token], split: str) -> None:
    (folder / "clips").mkdir()
    with (folder / MANIFEST).open("w", encoding="utf-8", newline="") as manifest:
        rows = csv.writer(manifest, lineterminator="\n")
        rows.writerow(COLUMNS)
        for index, (token, samples) in enumerate(zip(tokens, _cut(tokens, MARGIN), strict=True)):
            path = f"clips/{index:06}.flac"  # no label in it: one may hold what no file can be called
            (folder / path).write_bytes(_flac(samples))
            rows.writerow((path, token.span.label, token.clip.speaker, split))


def _flac(samples: Samples) -> bytes:
    """Encode in memory, as integers: libsndfile would scale floats by 32767, and not give them back."""
    encoded = io.BytesIO()
    integers = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(encoded, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return encoded.getvalue()
