"""Distillation: one student learns from one or several teachers, in the training loop.

The general stage needs no labels. What follows it, starting from a student that is there (`start`), is the
same loop with another recipe: `sparse` trains a CSR code for a frozen student, `robust` makes tokens and
embeddings hold still under augmentation.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from earkit.distill import layer_map as maps
from earkit.distill.calibration import CLIPS, Standardiser
from earkit.distill.checkpoint import saved
from earkit.distill.config import build, override, read_toml, to_toml
from earkit.distill.data.corpus import Corpus, Skipped
from earkit.distill.data.corpus import Progress as Count
from earkit.distill.data.evaluation import evaluation_clips
from earkit.distill.data.segments import SegmentBatch, SegmentConfig, segment_batches, segments, segments_once
from earkit.distill.device import processes
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, load_student, save_student
from earkit.distill.front_end import student_frames
from earkit.distill.losses.masked import draw
from earkit.distill.losses.matryoshka import MatryoshkaConfig
from earkit.distill.objective import Distillation, Lesson, LossesConfig, Lost, TeacherConfig, pairs_of
from earkit.distill.principal_axes import principal_axes
from earkit.distill.retention import Retention, hold_out
from earkit.distill.spans import SpanConfig, cut_out, draw_spans, played
from earkit.distill.stopwatch import Stopwatch
from earkit.distill.student import Student, StudentConfig
from earkit.distill.teachers.download import Progress as Fetched
from earkit.distill.teachers.resolve import load_teacher_by_name, resolve
from earkit.distill.teaching import TeacherAtWork
from earkit.distill.trace import Needs
from earkit.distill.training import LoopConfig, Progress, Say, Training
from earkit.runtime.atomic import write_text
from earkit.runtime.errors import CheckpointError, ConfigError

RECIPES = Path(__file__).parent / "recipes"
AXES_CLIPS = 100
"""Clips whose cuts decide on the axes of the embedding."""


@dataclass(frozen=True)
class DistilConfig(LoopConfig):
    """Everything that decides a distillation run; written to `config.toml` in its folder."""

    start: str = ""
    """A run or student folder whose student is taught further; without it, a new one."""
    freeze: bool = False
    """Leave the student as it is and train heads alone."""
    elastic: bool = False
    """Let every prefix of the blocks give an embedding."""
    cache: bool = True
    """Keep the teachers' features on disk instead of running them in every epoch."""
    probe_every: int = 1000
    """Steps between measurements of retention; 0 is never."""
    student: StudentConfig = field(default_factory=StudentConfig)
    teachers: tuple[TeacherConfig, ...] = ()
    losses: LossesConfig = field(default_factory=LossesConfig)
    matryoshka: MatryoshkaConfig = field(default_factory=MatryoshkaConfig)
    spans: SpanConfig = field(default_factory=SpanConfig)
    data: SegmentConfig = field(default_factory=SegmentConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        full = self.student.embedding_dim
        if self.matryoshka.dims[-1] != full:
            raise ConfigError(
                f"matryoshka.dims end with {self.matryoshka.dims[-1]}: "
                f"they must end with the full width, student.embedding_dim = {full}"
            )
        if len({teacher.name for teacher in self.teachers}) < len(self.teachers):
            raise ConfigError("a teacher is named twice: give each once, with a weight")
        if not self.losses.on():
            raise ConfigError("all losses are off: give one a weight, such as losses.relations.weight=1")
        if self.freeze and not self.start:
            raise ConfigError("freeze needs a student to start from: give --from RUN")
        if self.elastic and (self.freeze or not self.losses.stella.weight):
            raise ConfigError(
                "elastic is taught by the stella loss, to a student that is not frozen: "
                "give losses.stella.weight above 0 and leave out freeze"
            )


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a shipped recipe by name, or a TOML file, with overrides applied, as plain values."""
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    path = RECIPES / f"{name_or_path}.toml" if name_or_path in names else Path(name_or_path)
    if not path.is_file():
        raise ConfigError(f"no recipe {name_or_path}: give a TOML file or one of {', '.join(names)}")
    values = read_toml(path)
    override(values, overrides)
    return values


def distil_config(
    recipe: str,
    *,
    teachers: Sequence[str] = (),
    student: str | None = None,
    start: str = "",
    overrides: Sequence[str] = (),
) -> DistilConfig:
    """Make the configuration of a run: what the command line says wins over the recipe.

    A run that starts from a student has that one's shape, and unless others are given its widths and
    teachers.
    """
    values = load_recipe(recipe, overrides)
    if start:
        model, provenance = load_student(Path(start))
        if student and student != model.config.size:
            raise ConfigError(f"the student in {start} is {model.config.size}, not {student}: leave one out")
        values |= {"start": start, "student": dataclasses.asdict(model.config)}
        if model.outputs.dims:
            values.setdefault("matryoshka", {"dims": list(model.outputs.dims)})
        values.setdefault("teachers", [{"name": name} for name in provenance.teachers])
    elif student:
        override(values, [f"student.size={student}"])
    config = build(DistilConfig, values, recipe)
    if teachers:
        described = {teacher.name: teacher for teacher in config.teachers}
        chosen = tuple(described.get(name) or TeacherConfig(name) for name in teachers)
        config = dataclasses.replace(config, teachers=chosen)
    if not config.teachers and set(config.losses.on()) - {"csr", "contrast"}:
        raise ConfigError("no teacher is given: name one or several with --teacher; see `kit teachers list`")
    if config.teachers and not set(config.losses.on()) - {"csr", "contrast"}:
        config = dataclasses.replace(config, teachers=())
    return config


def find_teachers(teachers: Sequence[TeacherConfig], download: Fetched | None = None) -> None:
    """See to it that all teachers are on this machine, before anything else is begun."""
    with processes().main_process_first():
        for teacher in teachers:
            resolve(teacher.name, download)


@dataclass(frozen=True)
class DistilReport(Progress):
    """What one step of distillation showed. parts: weighted losses by name, of the last batch."""

    parts: dict[str, float]
    held_out: dict[str, float]
    """Where measured at this step: the student's probe scores over the teacher's, and others by name."""
    dead_latents: int


Report = Callable[[DistilReport], None]


def distil(
    config: DistilConfig,
    corpus: Corpus,
    out: Path,
    *,
    report: Report,
    say: Say,
    progress: Count | None = None,
    download: Fetched | None = None,
    heads: Mapping[str, Tensor] | None = None,
) -> Path:
    """Teach a student in the run folder `out`, resuming from its newest checkpoint; returns its folder.

    progress: hears how many segments of a teacher's feature cache are done. download: hears the bytes of a
    teacher that has to be fetched. heads: what a run before has trained beside its student, by name.
    """
    joined = processes()
    main = joined.is_main_process
    talk: Say = say if main else lambda _: None
    training, held = hold_out(corpus)
    learner = learner_of(config, training, out, talk, download)
    if main:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.toml", to_toml(config))
        _write_teachers(out / "teachers.json", learner.teachers, learner.layer_maps)
    learner.take_heads(heads or {})
    run = Training(config, learner, out, say)
    if not run.step:
        learner.calibrate()
    skipped: tuple[Skipped, ...] = ()
    if config.cache:
        with joined.main_process_first():
            skipped = learner.remember(progress)
    if main and config.probe_every and held.clips:
        learner.retention = Retention.prepare(training, held, config.data, learner.teachers)
    run.train(corpus.skipped + skipped, report)
    folder = out / "student"
    if main:
        provenance = learner.provenance(out.name, corpus, run.audio_seconds, run.step)
        save_student(learner.distilled(), folder, provenance)
    joined.wait_for_everyone()
    return folder


def learner_of(
    config: DistilConfig, training: Corpus, out: Path, say: Say, download: Fetched | None = None
) -> "Distilling":
    """Put the student beside its teachers, as the run in `out` does or would; writes nothing."""
    joined = processes()
    with joined.main_process_first():
        teachers = [
            TeacherAtWork(*load_teacher_by_name(teacher.name, download), joined.device)
            for teacher in config.teachers
        ]
    layer_maps = _layer_maps(config, teachers, training, out / "teachers.json")
    return Distilling(config, training, teachers, layer_maps, say)


def _layer_maps(
    config: DistilConfig, teachers: Sequence[TeacherAtWork], corpus: Corpus, record: Path
) -> list[maps.LayerMap]:
    """Resolve each teacher's layer map, or take that of a run which has begun."""
    depth = config.student.depth
    if saved(record.with_name("checkpoints")):
        return _recorded(record, teachers)
    found = []
    for asked, teacher in zip(config.teachers, teachers, strict=True):
        layers = teacher.teacher.layers
        if asked.layer_map == "similar" and not asked.pairs and layers:
            found.append(_by_similarity(teacher, depth, corpus, config.data))
        else:
            found.append(pairs_of(asked, depth, layers) if layers else ())
    return found


def _by_similarity(teacher: TeacherAtWork, depth: int, corpus: Corpus, data: SegmentConfig) -> maps.LayerMap:
    layers = range(1, teacher.teacher.layers + 1)
    seen = [teacher.live(b.audio, b.lengths, Needs(frozenset(layers))) for b in _sample(corpus, data)]
    features = [torch.cat([targets.hidden[k][targets.valid] for targets in seen])[:4000] for k in layers]
    return maps.by_similarity(depth, maps.linear_cka(features))


def _sample(corpus: Corpus, data: SegmentConfig, most: int = CLIPS) -> Iterator[SegmentBatch]:
    """Read some segments, evenly over the corpus."""
    total = len(segments(corpus, data))
    wanted = np.unique(np.linspace(0, total - 1, most).astype(int)).tolist()
    return (batch for batch in segments_once(corpus, data, wanted) if batch.segments)


def _recorded(record: Path, teachers: Sequence[TeacherAtWork]) -> list[maps.LayerMap]:
    """Read the layer maps of a run that has begun, and refuse to go on with other teachers."""
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
        begun = [(entry["name"], entry["fingerprint"]) for entry in entries]
        found = [tuple((int(b), int(k)) for b, k in entry["layer_map"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{record} is damaged ({error}): begin afresh with --fresh") from error
    for (name, fingerprint), teacher in zip(begun, teachers, strict=False):
        if fingerprint != teacher.fingerprint():
            raise ConfigError(
                f"teacher {name} has changed since this run began: give the one it began with, or --fresh"
            )
    return found


def _write_teachers(
    record: Path, teachers: Sequence[TeacherAtWork], layer_maps: Sequence[maps.LayerMap]
) -> None:
    entries = [
        {"name": teacher.name, "fingerprint": teacher.fingerprint(), "layer_map": layer_map}
        for teacher, layer_map in zip(teachers, layer_maps, strict=True)
    ]
    write_text(record, json.dumps(entries, indent=1) + "\n")


class Distilling:
    """How a student learns: segments, targets of each teacher, masked frames, spans and their cuts."""

    def __init__(
        self,
        config: DistilConfig,
        corpus: Corpus,
        teachers: Sequence[TeacherAtWork],
        layer_maps: Sequence[maps.LayerMap],
        say: Say,
    ) -> None:
        self.config, self.corpus, self.teachers, self.layer_maps = config, corpus, teachers, layer_maps
        self.retention: Retention | None = None
        self.start = load_student(Path(config.start)) if config.start else None
        torch.manual_seed(config.seed)
        student = self.start[0].student if self.start else Student(config.student)
        self.shapes = tuple(
            teacher.shape(config.student.dim, config.student.depth, layer_map)
            for teacher, layer_map in zip(teachers, layer_maps, strict=True)
        )
        self.module = Distillation(
            student,
            config.teachers,
            self.shapes,
            losses=config.losses,
            dims=config.matryoshka,
            parts=config.spans.parts,
        )
        self._take_heads()
        student.requires_grad_(not config.freeze)
        for teacher, needs in zip(teachers, self.module.needs(), strict=True):
            teacher.needs = needs
        self.device = torch.device("cpu")
        for sentence in self.module.left_out():
            say(sentence)
        self._refuse_nothing()

    def _refuse_nothing(self) -> None:
        """Refuse a run in which no loss is left, or nothing that a loss could move."""
        module, on = self.module, ", ".join(self.config.losses.on())
        if not module.embedding_losses.active and not any(list(x.children()) for x in module.frame_losses):
            raise ConfigError(f"the teachers give nothing for {on}: switch on another loss, such as stella")
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise ConfigError(
                f"nothing is left to train, as the student is frozen and {on} have no heads: "
                "leave out freeze, or switch on a loss that has, such as csr"
            )

    def _take_heads(self) -> None:
        """Begin with the heads of the student that the run starts from, where they fit."""
        if self.start is None:
            return
        model, codes, csr = self.start[0], self.module.codes(), self.module.embedding_losses.csr
        before = model.token_head
        if codes is not None and before is not None and codes.heads.weight.shape == before.weight.shape:
            codes.heads.load_state_dict(before.state_dict())
        if csr is not None and model.sparse is not None and csr.config.width == model.sparse.config.width:
            csr.load_state_dict(model.sparse.state_dict())

    def take_heads(self, state: Mapping[str, Tensor]) -> None:
        """Begin with what a run before has trained beside its student, by name, where it fits."""
        own = self.module.state_dict()
        fits = {
            name: tensor
            for name, tensor in state.items()
            if name in own and not name.startswith("student.") and own[name].shape == tensor.shape
        }
        self.module.load_state_dict(fits, strict=False)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Measure, before the first step, what stays fixed: statistics of log-mel and of the teachers."""
        batches = list(_sample(self.corpus, self.config.data))
        if self.start is None:
            clips = [
                clip[:length]
                for b in batches
                for clip, length in zip(b.audio, b.lengths.tolist(), strict=True)
            ]
            self.module.student.log_mel.fit(clips)
        for teacher, standardiser in zip(self.teachers, self.module.standardisers, strict=True):
            assert isinstance(standardiser, Standardiser)
            standardiser.fit([teacher.live(b.audio, b.lengths) for b in batches])

    def remember(self, progress: Count | None) -> tuple[Skipped, ...]:
        """Fill the caches of all teachers."""
        skipped: tuple[Skipped, ...] = ()
        for teacher, shape in zip(self.teachers, self.shapes, strict=True):
            skipped += teacher.remember(self.corpus, self.config.data, shape, progress)
        return skipped

    def batches(self, rank: int, world: int, start: int) -> Iterator[SegmentBatch]:
        """Yield batch number `start` and all that follow."""
        return segment_batches(
            self.corpus, self.config.data, seed=self.config.seed, rank=rank, world=world, start=start
        )

    def prepare(
        self, batch: SegmentBatch, rng: np.random.Generator, watch: Stopwatch
    ) -> tuple[tuple[Lesson], float]:
        """Give the module's input, and how many frames its loss is the sum over."""
        config = self.config
        device = self.module.student.blank.device
        targets = tuple(teacher.targets(batch) for teacher in self.teachers)
        watch.lap("teacher")
        frames = student_frames(batch.lengths)
        valid = torch.arange(int(frames.max())) < frames[:, None]
        masked = draw(config.losses.masked, valid, rng) if config.losses.masked.weight else None
        spans = draw_spans(frames, config.spans, rng)
        cut = cut_out(batch.augmented, batch.lengths, spans)
        cuts, cut_lengths = played(*cut, config.spans, rng)
        exits = config.student.depth
        counted = float(frames.sum())
        lesson = Lesson(
            audio=batch.augmented.to(device),
            lengths=batch.lengths.to(device),
            targets=targets,
            spans=spans.to(device),
            cuts=cuts.to(device),
            cut_lengths=cut_lengths.to(device),
            masked=None if masked is None else masked.to(device),
            exit_block=int(rng.integers(1, exits)) if config.elastic and exits > 1 else 0,
            frames=counted,
        )
        watch.lap("prepare")
        return (lesson,), counted

    def stepped(self) -> None:
        """Nothing follows a step."""

    @torch.no_grad()
    def finish(self) -> None:
        """Turn the embedding to its principal axes, if it was trained to be cut."""
        config, student, losses = self.config, self.module.student, self.module.embedding_losses
        if config.freeze or len(config.matryoshka.dims) == 1 or not self._trains_embeddings():
            return
        student.eval()
        axes = principal_axes(torch.cat(list(self._embedded_cuts())))
        student.train()
        student.pooling.turn(axes)
        for each in (losses.stella, losses.csr):
            if each is not None:
                each.turn(axes)

    def _embedded_cuts(self) -> Iterator[Tensor]:
        """Embed cuts of some clips, as users would embed short recordings. -> (n, embedding dim) each."""
        student, rng = self.module.student, np.random.default_rng(self.config.seed)
        device = student.blank.device
        for batch in _sample(self.corpus, self.config.data, AXES_CLIPS):
            spans = draw_spans(student_frames(batch.lengths), self.config.spans, rng)
            cuts, lengths = (each.to(device) for each in cut_out(batch.audio, batch.lengths, spans))
            yield F.normalize(student.embed_cuts(cuts, lengths), dim=1)

    def _trains_embeddings(self) -> bool:
        losses = self.module.embedding_losses
        return bool(losses.stella or losses.correlation or self.config.losses.contrast.weight)

    def restored(self, step: int) -> None:
        """Nothing depends on the step."""

    def state(self) -> dict[str, Any]:
        """Nothing that a reader of a checkpoint would miss."""
        return {}

    def show(self, progress: Progress, output: Lost) -> DistilReport:
        """Add the losses, and retention where it is due."""
        every = self.config.probe_every
        # The first report at or after each multiple: not every step is reported.
        due = 0 < every <= progress.step and progress.step % every < self.config.log_every
        csr = self.module.embedding_losses.csr
        return DistilReport(
            **dataclasses.asdict(progress),
            parts={name: round(float(value), 4) for name, value in output.parts.items()},
            held_out=self.retention.measure(self.distilled()) if self.retention and due else {},
            dead_latents=csr.dead() if csr is not None else 0,
        )

    def distilled(self) -> DistilledStudent:
        """Put together what is kept: the student, and the heads that were trained for it as it is now."""
        codes, csr, config = self.module.codes(), self.module.embedding_losses.csr, self.config
        kept = self.start[0] if self.start and config.freeze else None
        before = kept.outputs if kept else Outputs()
        outputs = Outputs(
            dims=config.matryoshka.dims if self._trains_embeddings() else before.dims,
            codebooks=codes.codebooks if codes else before.codebooks,
            codebook_size=codes.heads.out_features // codes.codebooks if codes else before.codebook_size,
            sparse=csr.config if csr is not None else before.sparse,
            classes=before.classes,
            elastic=config.elastic or before.elastic,
        )
        model = DistilledStudent(config.student, outputs)
        state = kept.state_dict() if kept else {}
        state |= {f"student.{k}": v for k, v in self.module.student.state_dict().items()}
        if codes is not None:
            state |= {f"token_head.{k}": v for k, v in codes.heads.state_dict().items()}
        if csr is not None:
            state |= {f"sparse.{k}": v for k, v in csr.state_dict().items()}
        model.load_state_dict(state)
        return model.eval()

    def provenance(self, name: str, corpus: Corpus, seconds: float, steps: int) -> Provenance:
        """Say where the student comes from."""
        before = self.start[1].teachers if self.start else ()
        licences = sorted({clip.labels["licence"] for clip in corpus.clips if clip.labels.get("licence")})
        return Provenance(
            name=name,
            teachers=tuple(dict.fromkeys((*before, *(t.name for t in self.teachers)))),
            data=corpus.source,
            licences=tuple(licences),
            audio_seconds=round(seconds, 1),
            steps=steps,
            evaluation_clips=len(evaluation_clips(corpus)),
        )
