"""The main job end to end, small: what exists of the pipeline, on the embedded corpus, in minutes."""

from dataclasses import dataclass
from pathlib import Path

from earkit.benchmarks.pretrain_quality import rivals
from earkit.benchmarks.probes import probe
from earkit.distill.dinosr import load_teacher
from earkit.distill.pretrain import Report, load_config, pretrain
from earkit.distill.run_folder import open_run
from earkit.distill.training import Say

CONFIG = "dinosr_nano"
CLIPS = 200


@dataclass(frozen=True)
class Row:
    """One representation and its probe accuracies on speakers never heard."""

    name: str
    parameters: int
    phones: float
    words: float


def demo(out: Path, *, fresh: bool, report: Report, say: Say) -> list[Row]:
    """Train a nano teacher (or resume it, or find it finished) and probe it beside its rivals."""
    config = load_config(CONFIG)
    corpus = open_run(out, config, None, fresh=fresh, say=say)
    teacher = load_teacher(pretrain(config, corpus, out, report=report, say=say))
    say("probing frozen features for phones and words, on speakers never heard")
    size = sum(p.numel() for p in teacher.student.parameters())
    shown = {
        "log-mel": ("log-mel, 80 bands", 0),
        "untrained": ("the same network, untrained", size),
        "trained": (f"{CONFIG} teacher", size),
    }
    manifest = Path(corpus.source)
    rows = []
    for name, featurise in rivals(teacher, config.seed).items():
        scores = probe(manifest, featurise, seed=config.seed, clips=CLIPS)
        rows.append(Row(*shown[name], scores["phones"].accuracy, scores["words"].accuracy))
    return rows
