"""Every peer, the floors and models of ours: the same clips, the same probes, the same threads.

    python -m earkit.benchmarks.peers get
    python -m earkit.benchmarks.peers_quality [NAME …] [--quick] [--model "mine=runs/mine/mine-int8.onnx"]
    python -m earkit.benchmarks.peers_quality --cost

Ours are the models that come with earkit, others that `speech_models` has trained, and what `--model` names.
Scores are kept one by one, so that a run that was stopped goes on; then the cost of all is measured in turns,
which wants a machine that does nothing else. With names, only those are scored, and nothing is timed. With
`--cost`, nothing is scored; the teacher and the student of `speech_models` have random weights where they are
not trained, which changes nothing about their cost.
`--quick` leaves out Whisper, what `speech_models` made and most tasks, and stores nothing.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earkit.benchmarks import cost_report, evaluation_report, results, speech_models
from earkit.benchmarks.contestants import contestant
from earkit.benchmarks.cost import QUICK, Cost, Plan, costs, timed
from earkit.benchmarks.evaluation import (
    HEADLINES,
    LOWER_IS_BETTER,
    NOT_A_SHARE,
    Cell,
    available,
    evaluation,
    of_row,
    weights_checksum,
)
from earkit.benchmarks.html_page import Scatter, Section
from earkit.benchmarks.peers import PEERS
from earkit.benchmarks.representations import FLOORS
from earkit.runtime.atomic import write_text
from earkit.runtime.errors import ConfigError, EarkitError
from earkit.runtime.find_model import KINDS, built_in
from earkit.runtime.model_file import read_model_file

NAME, COST = "peers_quality", "peers_cost"
COMMAND = "python -m earkit.benchmarks.peers_quality"
QUICK_TASKS = ("word_retrieval", "digits")
UNTRAINED = ", random weights"
SLOW = "whisper"  # a window of 30 s for every clip
AXIS = timed(10, 1)
FIRST = "speech_embedding"  # with whose speed the others' is compared


def contenders(models: Sequence[str], *, quick: bool) -> dict[str, str]:
    """Give what to load of everyone, by name: floors, peers, and models of ours.

    models: others of ours, each `NAME=WHAT` or WHAT.
    """
    peers = [name for name in PEERS if not (quick and name.startswith(SLOW))]
    trained = {} if quick else speech_models.made()
    shipped = [_weights(str(file)) for file in built_in().values()] if trained else []
    trained = {name: place for name, place in trained.items() if _weights(place) not in shipped}
    named = (model.partition("=") for model in models)
    everyone = {name: name for name in (*FLOORS, *peers, *built_in())}
    return everyone | trained | {name: what or name for name, _, what in named}


def _weights(place: str) -> tuple[str, str] | None:
    """Identify what a model file computes, under whatever name: whose weights, in which precision."""
    if Path(place).suffix not in KINDS:
        return None
    info = read_model_file(Path(place))
    return info.parent_sha256, info.precision


def quality(models: Mapping[str, str], seed: int, *, quick: bool) -> list[Cell]:
    """Score all; the cells of a whole run are stored as they come."""
    settings = {"seed": seed}
    kept = [] if quick else [of_row(row) for row in results.load_rows(NAME, settings)]

    def keep(cells: Sequence[Cell]) -> None:
        if not quick:
            results.store(NAME, COMMAND, [dataclasses.asdict(cell) for cell in cells], **settings)

    tasks = available(QUICK_TASKS if quick else (), _say)
    return evaluation(models, tasks, seed, kept=kept, keep=keep, say=_say)


def prices(models: Mapping[str, str], *, quick: bool) -> list[Cost]:
    """Measure all in turns, unless these very files were measured together before."""
    plan = QUICK if quick else Plan()
    order = sorted(models, key=lambda name: name != FIRST)
    settings = {
        "plan": dataclasses.asdict(plan),
        "weights": {name: weights_checksum(models[name]) for name in order},
    }
    stored = [] if quick else results.load_rows(COST, settings)
    if stored:
        return [Cost(**row) for row in stored]
    measured = costs([dataclasses.replace(contestant(models[name]), name=name) for name in order], plan, _say)
    if not quick:
        results.store(COST, f"{COMMAND} --cost", [dataclasses.asdict(cost) for cost in measured], **settings)
    return measured


def stand_ins(models: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Give those of ours that are not trained here, with random weights and so named."""
    if models.keys() >= speech_models.PRICED:
        return {}
    written = speech_models.untrained(folder)
    return {f"{name}{UNTRAINED}": str(place) for name, place in written.items() if name not in models}


def fronts(cells: Sequence[Cell], measured: Sequence[Cost]) -> list[Scatter]:
    """Plot each task's headline against the time of a clip of 10 s; errors as what is right."""
    time = {cost.name: 1000 * cost.seconds[AXIS] for cost in measured}
    plots = []
    for task in dict.fromkeys(cell.task for cell in cells):
        if task in NOT_A_SHARE:
            continue
        points = {}
        for cell in cells:
            if cell.task == task and cell.headline is not None and cell.model in time:
                value = cell.headline.value
                share = 1 - value if task in LOWER_IS_BETTER else value
                points[cell.model] = time[cell.model], 100 * share
        sign = "100 - " if task in LOWER_IS_BETTER else ""
        plots.append(
            cost_report.front(
                points, "milliseconds for 10 s, one thread", f"{sign}{task}: {HEADLINES[task]}, %"
            )
        )
    return plots


def html(cells: Sequence[Cell], measured: Sequence[Cost]) -> str:
    """Make the page: scores, cost, quality against cost, and every figure."""
    extra = [
        cost_report.section(measured),
        Section(
            "Quality against cost",
            "Nobody is both faster and better than those on the Pareto front. Time on a logarithmic scale.",
            fronts(cells, measured),
        ),
    ]
    return evaluation_report.html(cells, "Peers", extra)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def run(models: Sequence[str], only: Sequence[str], *, seed: int, quick: bool, page: Path) -> None:
    """Measure, print, and write the page. only: names of those that are scored, and not timed."""
    everyone = contenders(models, quick=quick)
    if unknown := [name for name in only if name not in everyone]:
        raise ConfigError(f"there is no {unknown[0]}: name some of {', '.join(everyone)}")
    scored = {name: everyone[name] for name in only} or everyone
    cells = quality(scored, seed, quick=quick)
    print(evaluation_report.text_table(cells))
    if only:
        return
    measured = prices(everyone, quick=quick)
    print(cost_report.text_table(measured))
    write_text(page, html(cells, measured))
    print(page)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="NAME", help="score these alone")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=WHAT",
        help="one of ours, as tables are to name it",
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cost", action="store_true", help="score nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--html", type=Path, default=Path("runs/peers.html"))
    chosen: Any = parser.parse_args()
    try:
        if chosen.cost:
            everyone = contenders(chosen.model, quick=False)
            with tempfile.TemporaryDirectory() as folder:
                measured = prices({**everyone, **stand_ins(everyone, Path(folder))}, quick=False)
            print(cost_report.text_table(measured))
            return
        run(chosen.model, chosen.only, seed=chosen.seed, quick=chosen.quick, page=chosen.html)
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
