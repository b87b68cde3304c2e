"""Training a DinoSR teacher: its configuration, and how it learns within the training loop."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earkit.distill.config import build, override, read_toml, to_toml
from earkit.distill.data.batches import Batch, DataConfig, crop_batches
from earkit.distill.data.corpus import Corpus
from earkit.distill.data.evaluation import evaluation_clips
from earkit.distill.device import processes
from earkit.distill.dinosr import DinoSR, DinoSRConfig, DinoSROutput, save_teacher, standardise
from earkit.distill.masking import MaskConfig, span_mask
from earkit.distill.rankme import rankme
from earkit.distill.stopwatch import Stopwatch
from earkit.distill.training import LoopConfig, Progress, Say, Training
from earkit.runtime.atomic import write_text
from earkit.runtime.errors import ConfigError

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class PretrainConfig(LoopConfig):
    """Everything that decides a pretraining run; written to `config.toml` in its folder."""

    steps: int = 400_000
    model: DinoSRConfig = field(default_factory=DinoSRConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    data: DataConfig = field(default_factory=DataConfig)


def named_configs() -> list[str]:
    """Names that `load_config` knows."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Read a shipped configuration by name, or a TOML file, and apply `table.key=value` overrides."""
    path = CONFIGS / f"{name_or_path}.toml" if name_or_path in named_configs() else Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f"no configuration {name_or_path}: give a TOML file or one of {', '.join(named_configs())}"
        )
    values = read_toml(path)
    override(values, overrides)
    return build(PretrainConfig, values, name_or_path)


@dataclass(frozen=True)
class StepReport(Progress):
    """What one step of pretraining showed."""

    ema_decay: float
    target_perplexity: list[float]
    prediction_perplexity: list[float]
    active_codes: list[int]
    rankme: float


Report = Callable[[StepReport], None]


def pretrain(config: PretrainConfig, corpus: Corpus, out: Path, *, report: Report, say: Say) -> Path:
    """Train into the run folder `out`, resuming from its newest checkpoint; returns the teacher folder."""
    joined = processes()
    if joined.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.toml", to_toml(config))
    learner = _Pretraining(config, corpus)
    run = Training(config, learner, out, say)
    if run.compiles:
        learner.module.compile_layers()
    run.train(corpus.skipped, report)
    folder = out / "teacher"
    if joined.is_main_process:
        provenance = {"run": out.name, "audio_seconds": run.audio_seconds, "clips": len(corpus.clips)}
        provenance["evaluation_clips"] = len(evaluation_clips(corpus))
        save_teacher(learner.module, folder, provenance)
    joined.wait_for_everyone()
    return folder


class _Pretraining:
    """How DinoSR learns: crops of a common length, masked spans, a teacher that follows."""

    def __init__(self, config: PretrainConfig, corpus: Corpus) -> None:
        self.config = config
        self.corpus = corpus
        torch.manual_seed(config.seed)
        self.module = DinoSR(config.model)

    def batches(self, rank: int, world: int, start: int) -> Iterator[Batch]:
        return crop_batches(
            self.corpus, self.config.data, seed=self.config.seed, rank=rank, world=world, start=start
        )

    def prepare(
        self, batch: Batch, rng: np.random.Generator, watch: Stopwatch
    ) -> tuple[tuple[Tensor, Tensor], float]:
        device = next(self.module.parameters()).device
        clips, samples = batch.audio.shape
        mask = torch.from_numpy(span_mask(clips, self.config.model.frames(samples), self.config.mask, rng))
        audio = standardise(batch.audio.to(device, non_blocking=True))
        watch.lap("mask")
        return (audio, mask.to(device)), float(mask.sum())

    def stepped(self) -> None:
        self.module.follow()

    def finish(self) -> None:
        pass

    def restored(self, step: int) -> None:
        self.module.updates = step

    def state(self) -> dict[str, Any]:
        return {"ema_decay": self._decay()}

    def show(self, progress: Progress, output: DinoSROutput) -> StepReport:
        return StepReport(
            **dataclasses.asdict(progress),
            ema_decay=self._decay(),
            target_perplexity=_rounded(output.target_perplexity),
            prediction_perplexity=_rounded(output.prediction_perplexity),
            active_codes=self.module.codebooks.active().tolist(),
            rankme=round(rankme(output.frames), 2),
        )

    def _decay(self) -> float:
        return self.config.model.ema_decay(self.module.updates)


def _rounded(values: Tensor) -> list[float]:
    return [round(float(v), 3) for v in values]
