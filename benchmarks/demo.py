"""The main job end to end, small: what exists of the pipeline, on the embedded corpus, in minutes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from earkit.benchmarks.log_mel import log_mel
from earkit.benchmarks.pretrain_quality import dinosr_features
from earkit.benchmarks.probes import Featurise, probe
from earkit.distill.dinosr import DinoSR, load_teacher
from earkit.distill.pretrain import Report, load_config, pretrain
from earkit.distill.run_folder import open_run

CONFIG = "dinosr_nano"
CLIPS = 200


@dataclass(frozen=True)
class Row:
    """One representation and its probe accuracies on speakers never heard."""

    name: str
    parameters: int
    phones: float
    words: float


def demo(out: Path, *, fresh: bool, report: Report, say: Callable[[str], None]) -> list[Row]:
    """Train a nano teacher (or resume it, or find it finished) and probe it beside its rivals."""
    config = load_config(CONFIG)
    corpus = open_run(out, config, None, fresh=fresh, say=say)
    teacher = load_teacher(pretrain(config, corpus, out, report=report, say=say))
    say("probing frozen features for phones and words, on speakers never heard")
    torch.manual_seed(config.seed)
    untrained = DinoSR(config.model)
    size = sum(p.numel() for p in teacher.student.parameters())
    rivals: list[tuple[str, int, Featurise]] = [
        ("log-mel, 80 bands", 0, lambda samples: {"80 bands": log_mel(samples)}),
        ("the same network, untrained", size, dinosr_features(untrained)),
        (f"{CONFIG} teacher", size, dinosr_features(teacher)),
    ]
    manifest = Path(corpus.source)
    rows = []
    for name, parameters, featurise in rivals:
        scores = probe(manifest, featurise, seed=config.seed, clips=CLIPS)
        rows.append(Row(name, parameters, scores["phones"].accuracy, scores["words"].accuracy))
    return rows
