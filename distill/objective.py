"""What a student learns from its teachers: losses on frames, one set for each teacher, and on embeddings.

On frames every teacher has heads of its own. Of embeddings there is one, so several teachers speak as one:
their vectors, each of length one and weighted, are put side by side, and the embedding shall have the
similarities that those have. A teacher that gives one vector for a clip lends it to every span of the clip.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill import layer_map as maps
from earkit.distill.calibration import Standardiser
from earkit.distill.front_end import student_frames
from earkit.distill.losses.codes import Codes, CodesConfig
from earkit.distill.losses.contrast import ContrastConfig, contrast
from earkit.distill.losses.csr import CSR, CSRConfig
from earkit.distill.losses.distance_correlation import DistanceCorrelation, DistanceCorrelationConfig
from earkit.distill.losses.masked import Masked, MaskedConfig
from earkit.distill.losses.matryoshka import MatryoshkaConfig, matryoshka
from earkit.distill.losses.relations import Relations, RelationsConfig
from earkit.distill.losses.stella import Stella, StellaConfig
from earkit.distill.losses.tinybert import TinyBERT, TinyBERTConfig
from earkit.distill.spans import Spans, ordered_means, whole
from earkit.distill.student import Student
from earkit.distill.trace import Needs, PairShape, StudentTrace, Targets
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class LossesConfig:
    """Every loss by the name of its file; a weight of 0 switches it off."""

    tinybert: TinyBERTConfig = field(default_factory=TinyBERTConfig)
    relations: RelationsConfig = field(default_factory=RelationsConfig)
    codes: CodesConfig = field(default_factory=CodesConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    distance_correlation: DistanceCorrelationConfig = field(default_factory=DistanceCorrelationConfig)
    stella: StellaConfig = field(default_factory=StellaConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    csr: CSRConfig = field(default_factory=CSRConfig)
    csr_joint: bool = False
    """Let the sparse code's loss reach the student too, instead of its head alone."""

    def on(self) -> list[str]:
        """Names of the losses that count."""
        configs = ((item.name, getattr(self, item.name)) for item in fields(self))
        return [name for name, config in configs if getattr(config, "weight", 0)]


@dataclass(frozen=True)
class TeacherConfig:
    """One teacher of a run."""

    name: str
    weight: float = 1.0
    layer_map: Literal["uniform", "last", "similar"] = "uniform"
    """TinyBERT's map, the last layers alone, or chosen by the similarity of the teacher's layers."""
    pairs: tuple[tuple[int, int], ...] = ()
    """An explicit map, instead: (student block, teacher layer), both counted from 1."""
    vector_layers: tuple[int, ...] = ()
    """Teacher layers whose mean is what vectors of spans are made of; none are those of the layer map."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"the weight of teacher {self.name} must be above 0, not {self.weight}")


def pairs_of(config: TeacherConfig, depth: int, layers: int) -> maps.LayerMap:
    """Resolve the layer map, but for `similar`, which a calibration resolves."""
    if config.pairs:
        return maps.explicit(config.pairs, depth, layers)
    return maps.last(depth, layers) if config.layer_map == "last" else maps.uniform(depth, layers)


class FrameLosses(nn.Module):
    """All that is learned from one teacher frame by frame."""

    def __init__(self, config: LossesConfig, shape: PairShape, vector_layers: tuple[int, ...]) -> None:
        super().__init__()
        on = set(config.on()) if shape.layer_map else set()
        by_frame: list[str] = [n for n in ("tinybert", "relations", "codes", "masked") if n in config.on()]
        if "distance_correlation" in config.on() and config.distance_correlation.on == "frames":
            by_frame.append("distance_correlation")
        self.lacking = [n for n in by_frame if not shape.layer_map or (n == "codes" and not shape.codebooks)]
        self.weights = {name: getattr(config, name).weight for name in config.on()}
        mapped = tuple(sorted({layer for _, layer in shape.layer_map}))
        self.vector_layers = vector_layers or mapped
        self.last = shape.layer_map[-1] if shape.layer_map else (0, 0)
        self.tinybert = TinyBERT(config.tinybert, shape) if "tinybert" in on else None
        self.relations = Relations(config.relations, shape) if "relations" in on else None
        self.codes = Codes(config.codes, shape) if "codes" in on and shape.codebooks else None
        self.masked = Masked(config.masked, shape) if "masked" in on else None
        correlates = "distance_correlation" in on and "distance_correlation" in by_frame
        self.correlation = DistanceCorrelation(config.distance_correlation) if correlates else None

    def needs(self) -> Needs:
        """Everything that the losses and the vectors want of the teacher."""
        if not self.vector_layers:
            return Needs(vector=True)
        needs = Needs(hidden=frozenset(self.vector_layers))
        for loss in (self.tinybert, self.relations, self.codes, self.masked):
            if loss is not None:
                needs |= loss.needs()
        return needs | Needs(hidden=frozenset({self.last[1]})) if self.correlation else needs

    def forward(
        self, trace: StudentTrace, blind: StudentTrace | None, masked: Tensor | None, targets: Targets
    ) -> dict[str, Tensor]:
        """Weighted losses by name. blind: what the student made of masked frames."""
        losses = {}
        if self.tinybert is not None:
            losses["tinybert"] = self.tinybert(trace, targets)
        if self.relations is not None:
            losses["relations"] = self.relations(trace, targets)
        if self.codes is not None:
            losses["codes"] = self.codes(trace, targets)
        if self.masked is not None and blind is not None and masked is not None:
            losses["masked"] = self.masked(blind, targets, masked)
        if self.correlation is not None:
            valid = trace.valid & targets.valid
            ours, theirs = trace.hidden[self.last[0]][valid], targets.hidden[self.last[1]][valid]
            losses["distance_correlation"] = self.correlation(ours, theirs)
        return {name: self.weights[name] * loss for name, loss in losses.items()}


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of one batch, each (n, embedding dim) before truncation and normalisation.

    spans: of spans in their clip; cuts: of the same spans cut out; clips: of whole clips; early: of the spans
    after a part of the blocks. same: (spans, spans), true where two are of one clip, and so no negatives.
    """

    spans: Tensor
    cuts: Tensor
    clips: Tensor
    same: Tensor
    early: Tensor | None = None


class EmbeddingLosses(nn.Module):
    """All that is learned about embeddings."""

    def __init__(
        self, config: LossesConfig, dims: MatryoshkaConfig, embedding_dim: int, teachers_dim: int
    ) -> None:
        super().__init__()
        self.config, self.dims = config, dims
        self.stella = Stella(config.stella, embedding_dim, teachers_dim) if config.stella.weight else None
        correlates = config.distance_correlation.weight and config.distance_correlation.on == "vectors"
        self.correlation = DistanceCorrelation(config.distance_correlation) if correlates else None
        self.csr = CSR(config.csr, embedding_dim) if config.csr.weight else None

    @property
    def active(self) -> bool:
        """Whether any loss is on."""
        return bool({"stella", "contrast", "csr"} & set(self.config.on())) or self.correlation is not None

    def forward(self, made: Embeddings, spans: Tensor, clips: Tensor) -> dict[str, Tensor]:
        """Weighted losses by name. spans, clips: the teachers' vectors, each (n, teachers dim)."""
        losses: dict[str, Tensor] = {}
        ours = torch.cat([made.spans, made.cuts, made.clips])
        theirs = torch.cat([spans, spans, clips])
        if self.stella is not None:
            losses["stella"] = self._nested(ours, lambda x: self._stella(x, theirs))
            if made.early is not None:
                losses["stella_early"] = self._nested(made.early, lambda x: self._stella(x, spans))
        if self.correlation is not None:
            losses["distance_correlation"] = self.config.distance_correlation.weight * self._nested(
                ours, lambda x: self._correlation(x, theirs)
            )
        if self.config.contrast.weight:
            losses["contrast"] = self.config.contrast.weight * self._views(made)
        if self.csr is not None:
            one, other = F.normalize(made.spans, dim=1), F.normalize(made.cuts, dim=1)
            if not self.config.csr_joint:
                one, other = one.detach(), other.detach()
            both = self.csr(one, other, made.same) + self.csr(other, one, made.same)
            losses["csr"] = self.config.csr.weight / 2 * both
        return losses

    def _nested(self, embedding: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        return matryoshka(embedding, self.dims.dims, self.dims.weights, loss)

    def _stella(self, ours: Tensor, theirs: Tensor) -> Tensor:
        assert self.stella is not None
        loss: Tensor = self.config.stella.weight * self.stella(ours, theirs)
        return loss

    def _correlation(self, ours: Tensor, theirs: Tensor) -> Tensor:
        assert self.correlation is not None
        loss: Tensor = self.correlation(ours, theirs)
        return loss

    def _views(self, made: Embeddings) -> Tensor:
        """Contrast between a span in its clip and cut out, over every prefix."""
        count = len(made.spans)
        both = torch.cat([made.spans, made.cuts])
        return self._nested(
            both, lambda x: contrast(x[:count], x[count:], self.config.contrast.temperature, made.same)
        )


@dataclass(frozen=True)
class Lesson:
    """One batch on its way into the student."""

    audio: Tensor  # (batch, samples), maybe augmented
    lengths: Tensor  # (batch,)
    targets: tuple[Targets, ...]
    spans: Spans
    cuts: Tensor  # (spans, samples)
    cut_lengths: Tensor  # (spans,)
    masked: Tensor | None  # (batch, frames)
    exit_block: int  # where `early` embeddings leave; 0 is nowhere
    frames: float  # that count in the mean over a step


@dataclass(frozen=True)
class Lost:
    """What a lesson cost. parts: weighted losses by name, means over frames or rows."""

    loss_sum: Tensor
    parts: Mapping[str, Tensor]


class Distillation(nn.Module):
    """A student, and everything that training adds to it."""

    def __init__(
        self,
        student: Student,
        teachers: tuple[TeacherConfig, ...],
        shapes: tuple[PairShape, ...],
        *,
        losses: LossesConfig,
        dims: MatryoshkaConfig,
        parts: int,
    ) -> None:
        super().__init__()
        self.student = student
        self.names = tuple(teacher.name for teacher in teachers)
        if not any(shape.codebooks for shape in shapes):
            tinybert = losses.tinybert
            losses = replace(
                losses, tinybert=replace(tinybert, weight=tinybert.weight * tinybert.without_codes)
            )
        total = sum(teacher.weight for teacher in teachers)
        self.shares = tuple(teacher.weight / total for teacher in teachers)
        self.frame_losses = nn.ModuleList(
            FrameLosses(losses, shape, teacher.vector_layers if shape.layer_map else ())
            for teacher, shape in zip(teachers, shapes, strict=True)
        )
        self.standardisers = nn.ModuleList(
            Standardiser(sorted(needs.hidden), shape.teacher_dim, vector=needs.vector)
            for needs, shape in zip(self.needs(), shapes, strict=True)
        )
        self.parts = parts
        teachers_dim = sum(shape.teacher_dim * (parts if shape.layer_map else 1) for shape in shapes)
        self.embedding_losses = EmbeddingLosses(losses, dims, student.config.embedding_dim, teachers_dim)
        idle = all(set(each.lacking) == set(losses.on()) for each in self._frame_losses())
        if idle and not self.embedding_losses.active:
            raise ConfigError(
                f"{' and '.join(self.names)} give nothing for {', '.join(losses.on())}: switch on stella, or "
                "take a teacher with frame features"
            )

    def needs(self) -> list[Needs]:
        """Say what each teacher must give."""
        return [losses.needs() for losses in self._frame_losses()]

    def _frame_losses(self) -> list[FrameLosses]:
        return [losses for losses in self.frame_losses if isinstance(losses, FrameLosses)]

    def codes(self) -> Codes | None:
        """Give the first teacher's codebook heads: the student's tokens come from them."""
        return next((losses.codes for losses in self._frame_losses() if losses.codes is not None), None)

    def left_out(self) -> list[str]:
        """Say which losses are on that a teacher has nothing for."""
        return [
            f"teacher {name} gives nothing for {', '.join(losses.lacking)}: off for it"
            for name, losses in zip(self.names, self._frame_losses(), strict=True)
            if losses.lacking
        ]

    def forward(self, lesson: Lesson) -> Lost:
        """Teach one batch."""
        targets = [norm(each) for norm, each in zip(self.standardisers, lesson.targets, strict=True)]
        trace = self.student(lesson.audio, lesson.lengths)
        blind = None
        if lesson.masked is not None:
            blind = self.student(lesson.audio, lesson.lengths, lesson.masked)
        parts: dict[str, Tensor] = {}
        for name, share, losses, each in zip(
            self.names, self.shares, self.frame_losses, targets, strict=True
        ):
            prefix = f"{name}." if len(self.names) > 1 else ""
            found = losses(trace, blind, lesson.masked, each)
            parts |= {prefix + loss: share * value for loss, value in found.items()}
        if self.embedding_losses.active:
            parts |= self._embedding_parts(lesson, trace, targets)
        total = torch.stack(list(parts.values())).sum()
        return Lost(total * lesson.frames, {name: value.detach() for name, value in parts.items()})

    def _embedding_parts(
        self, lesson: Lesson, trace: StudentTrace, targets: list[Targets]
    ) -> dict[str, Tensor]:
        spans, student = lesson.spans, self.student
        early = None
        if lesson.exit_block:
            early = student.pool(spans.of(trace.hidden[lesson.exit_block]), spans.counted)
        made = Embeddings(
            spans=student.pool(spans.of(trace.hidden[-1]), spans.counted),
            cuts=student.embed_cuts(lesson.cuts, lesson.cut_lengths),
            clips=student.pool(trace.hidden[-1], trace.valid),
            same=spans.row[:, None] == spans.row,
            early=early,
        )
        if self.training and student.blank.requires_grad:
            student.pooling.follow(torch.cat([made.spans, made.cuts]))
        # Without a teacher there is nothing to compare with: vectors of width 0.
        of_spans, of_clips = (
            [made.spans.new_zeros(len(made.spans), 0)],
            [made.clips.new_zeros(len(made.clips), 0)],
        )
        for share, losses, each in zip(self.shares, self._frame_losses(), targets, strict=True):
            span_vectors, clip_vectors = self._vectors(losses.vector_layers, each, lesson)
            of_spans.append(math.sqrt(share) * F.normalize(span_vectors, dim=1))
            of_clips.append(math.sqrt(share) * F.normalize(clip_vectors, dim=1))
        found: dict[str, Tensor] = self.embedding_losses(
            made, torch.cat(of_spans, dim=1), torch.cat(of_clips, dim=1)
        )
        return found

    def _vectors(self, layers: tuple[int, ...], targets: Targets, lesson: Lesson) -> tuple[Tensor, Tensor]:
        """Return a teacher's vectors of the spans and of the clips; where it has no frame, they are zero."""
        spans = lesson.spans
        if targets.vector is not None:
            return targets.vector[spans.row], targets.vector
        hidden = torch.stack([targets.hidden[layer] for layer in layers]).mean(0)
        time = torch.arange(hidden.shape[1], device=hidden.device)
        clips = whole(time < student_frames(lesson.lengths)[:, None])
        of_spans = ordered_means(hidden, spans, targets.valid, self.parts)
        return of_spans, ordered_means(hidden, clips, targets.valid, self.parts)
