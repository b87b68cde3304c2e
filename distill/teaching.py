"""A teacher at work in a distillation run: its targets for a batch, live or from the cache on disk."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Union

import torch
from torch import Tensor

from earkit.distill.data.corpus import Corpus, Progress, Skipped
from earkit.distill.data.segments import SegmentBatch, SegmentConfig
from earkit.distill.feature_cache import FeatureCache, cache_key, fill
from earkit.distill.front_end import FRAME
from earkit.distill.layer_map import LayerMap
from earkit.distill.pooling import pool
from earkit.distill.trace import Needs, PairShape, Targets
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import CheckpointError

if TYPE_CHECKING:
    from earkit.distill.teachers.huggingface import Teacher
    from earkit.distill.teachers.onnx_embedder import OnnxTeacher
    from earkit.distill.teachers.student_teacher import StudentTeacher

AnyTeacher = Union["Teacher", "OnnxTeacher", "StudentTeacher"]


class TeacherAtWork:
    """A loaded teacher, what is wanted of it, and its cache if there is one."""

    def __init__(self, teacher: AnyTeacher, folder: Path, device: torch.device) -> None:
        self.teacher = teacher.to(device)
        self.folder = folder
        self.device = device
        self.needs = Needs()
        self.cache: FeatureCache | None = None

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.teacher.name

    def shape(self, student_dim: int, student_depth: int, layer_map: LayerMap) -> PairShape:
        """Sizes of this pair; a teacher of vectors has no layer to map."""
        teacher = self.teacher
        return PairShape(
            student_dim=student_dim,
            student_depth=student_depth,
            teacher_dim=teacher.dim,
            teacher_layers=teacher.layers,
            layer_map=layer_map if teacher.layers else (),
            teacher_heads=teacher.attention_heads,
            codebooks=teacher.dinosr.codebooks if teacher.dinosr else 0,
            codebook_size=teacher.dinosr.codebook_size if teacher.dinosr else 0,
            teacher_input=teacher.gives_input,
        )

    def live(self, audio: Tensor, lengths: Tensor, needs: Needs | None = None) -> Targets:
        """Run the teacher on clean audio, and pool to the student's frames."""
        needs = needs or self.needs
        lengths = lengths.to(self.device)
        with torch.no_grad():
            frames = self.teacher.features(
                audio.to(self.device),
                lengths,
                layers=sorted(needs.hidden),
                attention=sorted(needs.attention),
                codes=needs.codes,
            )
            hop = self.teacher.hop or FRAME  # a teacher of vectors has none
            return pool(frames, lengths, hop, self.teacher.first_centre)

    def targets(self, batch: SegmentBatch) -> Targets:
        """Give what the losses need of a batch, from the cache where there is one."""
        if self.cache is not None:
            return _moved(self.cache.get(batch.segments), self.device)
        return self.live(batch.audio, batch.lengths)

    def remember(
        self, corpus: Corpus, config: SegmentConfig, shape: PairShape, progress: Progress | None
    ) -> tuple[Skipped, ...]:
        """Fill a cache with all segments of the corpus that it lacks, and use it from now on."""
        key = cache_key(self.fingerprint(), self.needs, corpus, config)
        digest = hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()[:16]
        folder = cache_folder() / "features" / digest
        cache = FeatureCache(folder, teacher=self.name, key=key)
        skipped = fill(cache, self.live, corpus, config, needs=self.needs, shape=shape, progress=progress)
        self.cache = cache
        return skipped

    def fingerprint(self) -> str:
        """Hash of the teacher's files: changes when its weights or its description do."""
        digest = hashlib.sha256()
        try:
            for file in sorted(
                p for p in self.folder.iterdir() if p.is_file() and not p.name.startswith(".")
            ):
                digest.update(file.name.encode())
                with file.open("rb") as content:
                    digest.update(hashlib.file_digest(content, "sha256").digest())
        except OSError as error:
            raise CheckpointError(
                f"teacher {self.name} cannot be read from {self.folder}: {error}"
            ) from error
        return digest.hexdigest()


def _moved(targets: Targets, device: torch.device) -> Targets:
    if device.type == "cpu":
        return targets
    return Targets(
        targets.valid.to(device),
        {k: x.to(device) for k, x in targets.hidden.items()},
        {k: type(x)(*(y.to(device) for y in x)) for k, x in targets.attention.items()},
        None if targets.codes is None else targets.codes.to(device),
        None if targets.vector is None else targets.vector.to(device),
    )
