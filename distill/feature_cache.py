"""What a teacher makes of each segment, computed once and kept on disk in float16.

A folder holds `cache.json`, which says what it is a cache of, and shards: safetensors files of some 64 MB
with the frames of many segments one behind the other, pooled and without padding, or smaller where a teacher
gives little or takes long. A shard is written under a temporary name and renamed, and says itself which
segments are in it; so a process that is killed loses the minutes of the shard that it was filling, and the
next one goes on from there.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from earkit.distill.data.corpus import Corpus, Progress, Skipped
from earkit.distill.data.segments import SegmentConfig, segments, segments_once
from earkit.distill.front_end import student_frames
from earkit.distill.trace import Needs, PairShape, QueryKeyValue, Targets
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import CheckpointError, ConfigError, StorageError

Live = Callable[[Tensor, Tensor], Targets]
"""The teacher itself: clean audio (batch, samples) and lengths (batch,) to what is pooled from its frames."""

_VERSION = 1
_SHARD_BYTES = 64 << 20
_SHARD_SECONDS = 300.0
_OPEN_SHARDS = 64
_LARGEST = torch.finfo(torch.float16).max
_SEGMENTS, _FRAMES = "segments", "frames"  # which are in a shard, and how many frames each has


class _Place(NamedTuple):
    """Where a segment lies: a shard, its number there, its first frame there, how many it has."""

    file: Path
    number: int
    first: int
    frames: int


class FeatureCache:
    """Targets by segment; `key` says of which teacher, what of it, and which segments."""

    def __init__(self, folder: Path, *, teacher: str, key: Mapping[str, Any]) -> None:
        self.folder, self.teacher = folder, teacher
        self._places: dict[int, _Place] = {}
        self._pending: dict[int, dict[str, Tensor]] = {}
        self._pending_bytes = 0
        self._written = monotonic()
        self._needed = 0
        self._shard = lru_cache(_OPEN_SHARDS)(_open)
        _claim(folder, key)
        for file in sorted(folder.glob("shard-*.safetensors")):
            self._places.update(_places(file))

    def missing(self, wanted: Iterable[int]) -> list[int]:
        """Those segments that are not in the cache yet."""
        return [s for s in wanted if s not in self._places and s not in self._pending]

    def reserve(self, needed: int) -> None:
        """Clear what a killed process left, and refuse to begin where `needed` bytes do not fit."""
        for part in self.folder.glob(".shard-*.part"):
            part.unlink(missing_ok=True)
        self._needed = needed
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise StorageError(self._too_full(f"{free / 1e9:.3g} GB are free"))

    def add(self, found: Sequence[int], targets: Targets, lengths: Tensor) -> None:
        """Take the Targets of some segments, of `lengths` samples (batch,).

        They are written once a shard is full, or after five minutes. Values beyond the range of float16,
        65504, are kept as that.
        """
        rows = {name: _compact(x) for name, x in _by_time(targets).items()}
        for i, (segment, frames) in enumerate(zip(found, student_frames(lengths).tolist(), strict=True)):
            if self.missing([segment]):
                self._pending[segment] = {name: x[i, :frames].clone() for name, x in rows.items()}
                self._pending_bytes += sum(x.nbytes for x in self._pending[segment].values())
        if self._pending_bytes >= _SHARD_BYTES or monotonic() - self._written >= _SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added as a shard, however small."""
        if not self._pending:
            return
        waiting = list(self._pending.values())
        shard = {name: torch.cat([rows[name] for rows in waiting]) for name in waiting[0]}
        shard[_SEGMENTS] = torch.tensor(list(self._pending))
        shard[_FRAMES] = torch.tensor([len(rows["valid"]) for rows in waiting])
        # A segment is in one shard alone, so its number is a name that no other shard has.
        file = self.folder / f"shard-{next(iter(self._pending)):08d}.safetensors"
        try:
            with replacing(file) as temporary:
                save_file(shard, temporary)
        except (OSError, SafetensorError) as error:
            raise StorageError(self._too_full(f"writing {file.name} failed ({error})")) from error
        self._places.update(_places(file))
        self._pending.clear()
        self._pending_bytes = 0
        self._written = monotonic()

    def get(self, wanted: Sequence[int]) -> Targets:
        """Targets of a batch in float32, with zeros behind the shorter ones."""
        lacking = [segment for segment in wanted if segment not in self._places]
        if lacking:
            raise CheckpointError(
                f"the cache {self.folder} lacks {len(lacking)} segments, the first is {lacking[0]}: fill it"
            )
        places = [self._places[segment] for segment in wanted]
        time = max(place.frames for place in places)
        rows: dict[str, Tensor] = {}
        for i, place in enumerate(places):
            for name, piece in self._pieces(place).items():
                if name not in rows:
                    dtype = torch.bool if name == "valid" else torch.float32
                    shape = (len(places), 1 if name == "vector" else time, *piece.shape[1:])
                    rows[name] = torch.zeros(shape, dtype=dtype)
                rows[name][i, : len(piece)] = piece
        return _from_time(rows)

    def _pieces(self, place: _Place) -> dict[str, Tensor]:
        """Read one segment's frames, and of the file nothing else."""
        frames = slice(place.first, place.first + place.frames)
        vector = slice(place.number, place.number + 1)
        try:
            shard = self._shard(place.file)
            names = set(shard.keys()) - {_SEGMENTS, _FRAMES}
            return {name: shard.get_slice(name)[vector if name == "vector" else frames] for name in names}
        except (OSError, SafetensorError) as error:
            raise _damaged(place.file, error) from error

    def _too_full(self, reason: str) -> str:
        return (
            f"the cache of {self.teacher} needs about {self._needed / 1e9:.3g} GB in {self.folder}, and "
            f"{reason}; what is cached stays: free space or use --no-cache"
        )


def cache_key(teacher: str, needs: Needs, corpus: Corpus, config: SegmentConfig) -> dict[str, Any]:
    """Say what a cache is of. teacher: what changes when its weights do, such as a hash of them."""
    cut = hashlib.sha256()
    for segment in segments(corpus, config):
        clip = corpus.clips[segment.clip]
        cut.update(repr((clip.path, clip.offset, clip.frames, clip.rate, *segment)).encode())
    return {
        "version": _VERSION,
        "teacher": teacher,
        "hidden": sorted(needs.hidden),
        "attention": sorted(needs.attention),
        "codes": needs.codes,
        "vector": needs.vector,
        "segments": cut.hexdigest(),
    }


def estimated_bytes(needs: Needs, shape: PairShape, lengths: Iterable[int]) -> int:
    """Room that segments of so many samples will take."""
    values = shape.teacher_dim * (len(needs.hidden) + 3 * len(needs.attention))
    values += shape.codebooks * shape.codebook_size * needs.codes
    samples = torch.tensor(list(lengths), dtype=torch.int64)
    frames = int(student_frames(samples).sum())
    return frames * (2 * values + 1) + len(samples) * (2 * shape.teacher_dim * needs.vector + 16)


def fill(
    cache: FeatureCache,
    live: Live,
    corpus: Corpus,
    config: SegmentConfig,
    *,
    needs: Needs,
    shape: PairShape,
    progress: Progress | None = None,
) -> tuple[Skipped, ...]:
    """Run the teacher over all segments that are missing; gives those that cannot be read, with the reason.

    `progress` hears how many of the missing ones are done.
    """
    cut = segments(corpus, config)
    missing = cache.missing(range(len(cut)))
    cache.reserve(estimated_bytes(needs, shape, (cut[segment].samples for segment in missing)))
    skipped: list[Skipped] = []
    done = 0
    for batch in segments_once(corpus, config, missing):
        if batch.segments:
            cache.add(batch.segments, live(batch.audio, batch.lengths), batch.lengths)
        skipped += batch.skipped
        done += len(batch.segments) + len(batch.skipped)
        if progress:
            progress(done, len(missing))
    cache.flush()
    return tuple(skipped)


def _claim(folder: Path, key: Mapping[str, Any]) -> None:
    """Mark a new folder as the cache of `key`; refuse one that is of something else."""
    file = folder / "cache.json"
    wanted = json.loads(json.dumps(key))
    if not file.is_file():
        write_text(file, json.dumps(wanted, indent=1))
        return
    try:
        held = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged ({error}): delete {folder}, it is made again") from error
    changed = [name for name in {**wanted, **held} if wanted.get(name) != held.get(name)]
    if changed:
        raise ConfigError(
            f"{folder} is the cache of another {' and '.join(changed)}: give another folder or delete it"
        )


def _open(file: Path) -> Any:  # noqa: ANN401 - safetensors publishes no types
    return safe_open(file, framework="pt")


def _places(file: Path) -> dict[int, _Place]:
    try:
        with safe_open(file, framework="pt") as shard:
            held, frames = (shard.get_tensor(name).tolist() for name in (_SEGMENTS, _FRAMES))
            total = shard.get_slice("valid").get_shape()[0]
    except (OSError, SafetensorError) as error:
        raise _damaged(file, error) from error
    if len(held) != len(frames) or sum(frames) != total:
        raise _damaged(file, f"{total} frames where {sum(frames)} should be")
    places: dict[int, _Place] = {}
    first = 0
    for number, (segment, count) in enumerate(zip(held, frames, strict=True)):
        places[segment] = _Place(file, number, first, count)
        first += count
    return places


def _damaged(file: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"the shard {file} of a feature cache is damaged ({reason}): delete that file, and it is made again"
    )


def _compact(x: Tensor) -> Tensor:
    x = x.detach()
    return (x if x.dtype == torch.bool else x.clamp(-_LARGEST, _LARGEST).half()).cpu()


def _by_time(targets: Targets) -> dict[str, Tensor]:
    """Name all tensors, each as (batch, time, …); a vector has a time of 1."""
    rows = {"valid": targets.valid}
    rows |= {f"hidden.{k}": x for k, x in targets.hidden.items()}
    for k, projections in targets.attention.items():
        rows |= {f"attention.{k}.{name}": x.transpose(1, 2) for name, x in projections._asdict().items()}
    if targets.codes is not None:
        rows["codes"] = targets.codes.permute(1, 2, 0, 3)
    if targets.vector is not None:
        rows["vector"] = targets.vector.unsqueeze(1)
    return rows


def _from_time(rows: Mapping[str, Tensor]) -> Targets:
    """Undo `_by_time`."""
    blocks = sorted({int(name.split(".")[1]) for name in rows if name.startswith("attention.")})
    return Targets(
        valid=rows["valid"],
        hidden={int(name.split(".")[1]): x for name, x in rows.items() if name.startswith("hidden.")},
        attention={
            k: QueryKeyValue(
                *(rows[f"attention.{k}.{name}"].transpose(1, 2) for name in QueryKeyValue._fields)
            )
            for k in blocks
        },
        codes=rows["codes"].permute(2, 0, 1, 3) if "codes" in rows else None,
        vector=rows["vector"].squeeze(1) if "vector" in rows else None,
    )
