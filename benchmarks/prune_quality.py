"""Does pruning pay, and does Taylor know better than the lot? Quality and speed at two budgets.

    python -m earkit.benchmarks.prune_quality [--seeds 3] [--steps 300] [--recovery 150]

For each seed the default `tiny` student of `distill_quality` is pruned to 60 % and to 40 % of its
multiply-adds (what cannot be pruned is 29 %): in one round by Taylor, magnitude and lot, with the same steps
of recovery after it, and to 60 % by Taylor in three rounds.
Phones and words are linear probes of frozen frames on speakers never heard, as they are at the end, and of
one round right after pruning (`pruned`); `retained` is the worse of the two over that of the whole student.
The distillation loss is that of the first step of recovery and the mean of its last `LAST` steps that were
logged: the same batches for every way of one round.
Every row is stored when it is done. Speed is that of the model file, on one thread: those of a seed are timed
at the end, in turns with the whole student's, which wants a machine that does nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import onnx

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.results import Cells, Row
from earkit.benchmarks.run_metrics import metrics
from earkit.compress.prune import prune
from earkit.compress.prune_config import Target, prune_config
from earkit.distill.distilled import DistilledStudent
from earkit.distill.run_folder import open_run
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.export.graph import clip_graph, select
from earkit.runtime.paired_latency import paired_latency

NAME = "prune_quality"
VARIANTS = {
    "random": ("random", 0.6, 1),
    "magnitude": ("magnitude", 0.6, 1),
    "taylor": ("taylor", 0.6, 1),
    "taylor, 3 rounds": ("taylor", 0.6, 3),
    "random, to 40 %": ("random", 0.4, 1),
    "magnitude, to 40 %": ("magnitude", 0.4, 1),
    "taylor, to 40 %": ("taylor", 0.4, 1),
}
"""Importance, share of the multiply-adds, and rounds."""
LAST = 3
TASKS = ("phones", "words")


def probes(model: DistilledStudent, manifest: Path, seed: int) -> dict[str, float]:
    """Probe the frames of a student."""
    return bench.probes(manifest, bench.student_features(model), seed)


def graph(model: DistilledStudent) -> onnx.ModelProto:
    """Make the graph of all that a student gives."""
    return clip_graph(model, select(model))


def run_of(start: Path, name: str) -> Path:
    """Where a student is pruned in a way."""
    return start.parent / "_".join(["pruned", *name.replace(",", "").removesuffix(" %").split()])


def measure(
    start: Path, manifest: Path, seed: int, name: str, *, recovery: int, whole: dict[str, float]
) -> dict[str, Any]:
    """Prune one student in one way, unless that is done, and score it. whole: scores of the whole student."""
    importance, share, rounds = VARIANTS[name]
    run = run_of(start, name)
    config = prune_config(
        start, Target(macs=share), importance=importance, rounds=rounds, steps=recovery, seed=seed
    )
    corpus = open_run(run, config, manifest, fresh=False, say=bench.quiet)
    made = prune(
        config,
        corpus,
        run,
        to_graph=graph,
        report=bench.quiet,
        say=bench.quiet,
    )
    after = probes(bench.load(run), manifest, seed)
    row: dict[str, Any] = {
        "inner_dims": made.rows[-1].inner_dims,
        "parameters": made.rows[-1].parameters,
        "multiply_adds": round(made.rows[-1].multiply_adds / made.rows[0].multiply_adds, 3),
        **after,
        "retained": round(min(after[task] / whole[task] for task in TASKS), 4),
    }
    if rounds == 1:
        cut = probes(bench.load(run / "round-1" / "pruned"), manifest, seed)
        row |= {f"pruned {task}": cut[task] for task in TASKS}
        losses = [step["loss"] for step in metrics(run / "round-1")]
        row |= {"pruned loss": round(losses[0], 4), "loss": round(fmean(losses[-LAST:]), 4)}
    return row


def time(start: Path, rows: Sequence[Row]) -> None:
    """Note in rows of pruned students how many times as fast as the whole one they are."""
    models = [bench.load(start), *(bench.load(run_of(start, row["name"])) for row in rows)]
    taken = paired_latency([graph(model) for model in models], threads=1)
    for row, (_, speed) in zip(rows, taken[1:], strict=True):
        row["speed"] = round(speed, 3)


def main() -> None:
    """Measure what is missing, and store each row."""
    parser = bench.options(__doc__, seeds=3)
    parser.add_argument("--recovery", type=int, default=150)
    given = parser.parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, recovery=given.recovery)
    for seed in range(given.seeds):
        start = bench.default_run(given.runs, seed, manifest, given.steps)
        whole = cells.find(name="whole", seed=seed)
        if not whole:
            whole = {"name": "whole", "seed": seed, **probes(bench.load(start), manifest, seed)}
            cells.keep([whole])
        for name in VARIANTS:
            if not cells.find(name=name, seed=seed):
                found = measure(start, manifest, seed, name, recovery=given.recovery, whole=whole)
                cells.keep([{"name": name, "seed": seed, **found}])
    for seed in range(given.seeds):
        pruned = [row for row in cells.rows if row["seed"] == seed and row["name"] in VARIANTS]
        if not all("speed" in row for row in pruned):
            time(bench.default_run(given.runs, seed, manifest, given.steps), pruned)
            cells.keep([])


if __name__ == "__main__":
    main()
