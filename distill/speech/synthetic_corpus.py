"""The embedded corpus: synthetic speech as FLAC files with a manifest of words, phones and speakers.

A corpus is made in a hidden folder beside its place and renamed when it is complete, so that a corpus
that exists is whole. Which clips it has depends on its `Recipe` alone.
"""

import csv
import io
import json
import logging
import math
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import soundfile

from earkit.distill.speech.prosody import Span
from earkit.distill.speech.synthesizer import Utterance, utterance
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import ConfigError, DataError, StorageError

VERSION = 1  # of the sound: raise it with any change that alters a sample or a label
LICENCE = "CC0-1.0"
MANIFEST = "manifest.csv"
COLUMNS = ("path", "samples", "sample_rate", "speaker", "split", "text", "words", "phones", "licence")
TEST_SHARE = 0.2  # of the audio; a quarter of the speakers

_RECIPE = "recipe.json"
_README = """\
SYNTHETIC SPEECH. No person speaks in these recordings.

earkit made them with a source-filter synthesizer (earkit.distill.speech.synthesizer): glottal pulses and
noise through formant resonances that change every 5 ms, random voices, random sequences of words from a small
lexicon, background noise at 5 to 35 dB below the speech, and an uneven microphone. They serve
demonstrations and tests; a figure measured on them says little about real speech.

version {version}, seed {seed}, {minutes:g} minutes asked for, {speakers} speakers
made by: kit corpus synth OUT --minutes {minutes:g} --speakers {speakers} --seed {seed}
licence: {licence} (public domain)

manifest.csv   a row for each clip; `words` and `phones` are label:start:end in samples, `end` excluded.
               The phones cover the whole clip, with `sil` where nobody speaks.
train/ test/   a folder for each speaker; no speaker is in both.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What decides every byte of a corpus."""

    minutes: float = 60.0
    speakers: int = 48
    seed: int = 0
    version: int = VERSION

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise ConfigError(f"a corpus of {self.minutes} minutes cannot be made; give minutes above 0")
        if self.speakers < 2:
            raise ConfigError(
                f"{self.speakers} speakers cannot be divided into train and test; give speakers of 2 or more"
            )
        if self.seed < 0:
            raise ConfigError(f"the seed {self.seed} is negative; give a seed of 0 or above")

    def split(self, speaker: int) -> str:
        """Every fourth speaker is a test speaker."""
        return "test" if speaker % 4 == 1 else "train"

    def samples(self, speaker: int) -> float:
        """How much a speaker is to say, in samples."""
        own = self.split(speaker)
        share = TEST_SHARE if own == "test" else 1 - TEST_SHARE
        sharing = sum(self.split(other) == own for other in range(self.speakers))
        return self.minutes * 60 * SAMPLE_RATE * share / sharing


DEFAULT = Recipe()


@dataclass(frozen=True)
class LabelledClip:
    """A row of the manifest: a file and what is said in it."""

    path: Path
    speaker: str
    split: str  # train or test
    text: str
    words: tuple[Span, ...]
    phones: tuple[Span, ...]  # tile the clip

    @property
    def samples(self) -> int:
        """Length of the clip."""
        return self.phones[-1].end


def default_corpus(progress: Callable[[float], None] | None = None) -> Path:
    """Give the manifest of the corpus in the cache folder, which is made on first use in about a minute."""
    minutes, speakers, seed = DEFAULT.minutes, DEFAULT.speakers, DEFAULT.seed
    name = f"synthetic-speech-v{VERSION}-{minutes:g}min-{speakers}speakers-seed{seed}"
    return write_corpus(
        cache_folder() / name, minutes=minutes, speakers=speakers, seed=seed, progress=progress
    )


def write_corpus(
    out: Path,
    *,
    minutes: float = DEFAULT.minutes,
    speakers: int = DEFAULT.speakers,
    seed: int = DEFAULT.seed,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Make the folder `out` and give its manifest, or the manifest of an equal corpus that is there.

    Each speaker says at least one utterance, so very few minutes become a few more. `progress` hears the
    share that is done, from 0 to 1.
    """
    recipe = Recipe(float(minutes), speakers, seed)
    out = out.resolve()  # `.` has no name to put a hidden folder beside
    if _occupied(out):
        return _reuse(out, recipe)
    log.info("making %g minutes of synthetic speech in %s", recipe.minutes, out)
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        draft.mkdir(parents=True)
        _fill(draft, recipe, progress or (lambda _: None))
        return _publish(draft, out, recipe)
    except OSError as error:
        raise StorageError(
            f"could not write the corpus {out}: {error.strerror or error}; "
            "free some space or choose another place"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_labels(manifest: Path) -> list[LabelledClip]:
    """Read the labels of a corpus back, in the order of the manifest."""
    try:
        with manifest.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            missing = set(COLUMNS) - set(rows.fieldnames or ())
            if missing:
                raise DataError(
                    f"{manifest} has no column {', '.join(sorted(missing))}; "
                    "make a corpus with `kit corpus synth`"
                )
            return [_clip(row, manifest, rows.line_num) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {manifest}: {error}; make a corpus with `kit corpus synth`") from error


def _occupied(out: Path) -> bool:
    """Whether something stands there that must not be replaced; an empty folder may be."""
    return out.exists() and not (out.is_dir() and not any(out.iterdir()))


def _reuse(out: Path, recipe: Recipe) -> Path:
    try:
        found = json.loads((out / _RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != asdict(recipe):
        what = f"another corpus ({_RECIPE}: {found})" if found else "something that is not a synthetic corpus"
        raise DataError(f"{out} already holds {what}; remove it or choose another place")
    lost = [clip.path for clip in read_labels(out / MANIFEST) if not clip.path.is_file()]
    if lost:
        raise DataError(
            f"{out} has lost {len(lost)} clip(s), {lost[0].name} first; remove the folder to make it anew"
        )
    log.info("reusing the synthetic speech in %s", out)
    return out / MANIFEST


def _publish(draft: Path, out: Path, recipe: Recipe) -> Path:
    """Move a finished corpus to its place, unless another process was first."""
    try:
        if out.is_dir():
            out.rmdir()  # only if empty
        draft.rename(out)
    except OSError:
        if _occupied(out):
            return _reuse(out, recipe)
        raise
    return out / MANIFEST


def _fill(folder: Path, recipe: Recipe, progress: Callable[[float], None]) -> None:
    with (folder / MANIFEST).open("w", encoding="utf-8", newline="") as manifest:
        rows = csv.writer(manifest, lineterminator="\n")
        rows.writerow(COLUMNS)
        for speaker in range(recipe.speakers):
            for index, spoken in enumerate(_utterances(recipe, speaker)):
                name, split = f"s{speaker:03}", recipe.split(speaker)
                path = Path(split, name, f"{name}-{index:04}.flac")
                _write_flac(folder / path, spoken)
                rows.writerow(_row(path, name, split, spoken))
            progress((speaker + 1) / recipe.speakers)
    (folder / "README.txt").write_text(_README.format(licence=LICENCE, **asdict(recipe)), encoding="utf-8")
    (folder / _RECIPE).write_text(json.dumps(asdict(recipe)) + "\n", encoding="utf-8")


def _utterances(recipe: Recipe, speaker: int) -> Iterator[Utterance]:
    """Let a speaker talk until the next utterance would lead further from the length asked for."""
    left = recipe.samples(speaker)
    for index in count():
        spoken = utterance(recipe.seed, speaker, index)
        if index and left < len(spoken.audio) / 2:
            return
        left -= len(spoken.audio)
        yield spoken


def _write_flac(path: Path, spoken: Utterance) -> None:
    """Encode in memory: a full disk is then an OSError, which libsndfile would not tell."""
    encoded = io.BytesIO()
    soundfile.write(encoded, spoken.audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.getvalue())


def _row(path: Path, speaker: str, split: str, spoken: Utterance) -> tuple[str | int, ...]:
    return (
        path.as_posix(),
        len(spoken.audio),
        SAMPLE_RATE,
        speaker,
        split,
        spoken.text,
        _format_spans(spoken.words),
        _format_spans(spoken.phones),
        LICENCE,
    )


def _clip(row: dict[str, str], manifest: Path, line: int) -> LabelledClip:
    try:
        words, phones = parse_spans(row["words"]), parse_spans(row["phones"])
        if not phones:
            raise ValueError("no phones")  # noqa: TRY301 - the same sentence as for malformed ones
    except (ValueError, AttributeError) as error:  # AttributeError: the row is short, its columns None
        raise DataError(
            f"{manifest}, line {line}: words and phones must be label:start:end triples; make the corpus anew"
        ) from error
    return LabelledClip(
        manifest.parent / row["path"], row["speaker"], row["split"], row["text"], words, phones
    )


def _format_spans(spans: Iterable[Span]) -> str:
    return " ".join(f"{span.label}:{span.start}:{span.end}" for span in spans)


def parse_spans(text: str) -> tuple[Span, ...]:
    """Read `label:start:end` triples, in samples, as the manifest writes them."""
    triples = (triple.split(":") for triple in text.split())
    return tuple(Span(label, int(start), int(end)) for label, start, end in triples)
