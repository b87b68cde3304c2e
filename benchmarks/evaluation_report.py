"""Evaluations for people: a table of one column a task, and one page of HTML with every figure."""

from collections.abc import Sequence

from earkit.benchmarks import machine
from earkit.benchmarks.evaluation import HEADLINES, LOWER_IS_BETTER, NOT_A_SHARE, Cell
from earkit.benchmarks.html_page import Section, Table, page
from earkit.benchmarks.tasks.evaluate import TASKS
from earkit.benchmarks.tasks.task import Score
from earkit.runtime.text_table import NOTHING
from earkit.runtime.text_table import text_table as aligned

NOT_YET = "not yet"
READING = (
    "One figure a task, with its 95 % interval: speakers, sentences, instruments or sources were drawn anew. "
    "Two models differ for sure only where intervals are apart. A dash: the model gives no frames, which the "
    "task needs."
)


def grid(cells: Sequence[Cell]) -> list[list[str]]:
    """Lay out the headlines: a row of heads, then one a model."""
    models, tasks = (
        list(dict.fromkeys(names)) for names in ((c.model for c in cells), (c.task for c in cells))
    )
    found = {(cell.model, cell.task): shown(cell.headline, cell.task) for cell in cells}
    rows = [[name, *(found.get((name, task), NOT_YET) for task in tasks)] for name in models]
    return [["", *(f"{task}: {HEADLINES[task]}" for task in tasks)], *rows]


def shown(score: Score | None, task: str) -> str:
    """Write a figure with its interval, in per cent where it is a share."""
    if score is None:
        return NOTHING
    times = 1 if task in NOT_A_SHARE else 100
    value = f"{times * score.value:.1f}"
    if score.interval is None:
        return value
    low, high = (f"{times * bound:.1f}" for bound in score.interval)
    return f"{value} ({low}\u2013{high})"


def text_table(cells: Sequence[Cell]) -> str:
    """Align the table for a terminal; models are columns once they are fewer than tasks."""
    rows = grid(cells)
    if len(rows) < len(rows[0]):
        rows = [list(column) for column in zip(*rows, strict=True)]
    return aligned(rows, left=range(len(rows[0])))


def html(cells: Sequence[Cell], title: str = "Evaluation", extra: Sequence[Section] = ()) -> str:
    """Make the page."""
    head, *rows = grid(cells)
    first = Section("Scores", READING, [Table(head, rows)])
    return page(title, [first, *extra, *map(_of_task, _tasks(cells))], about(cells))


def about(cells: Sequence[Cell]) -> dict[str, str]:
    """Say on what, with what and from which seed."""
    return machine.about() | {
        "seeds": ", ".join(map(str, sorted({cell.seed for cell in cells}))),
        "models": ", ".join(
            f"{name} {weights[:12]}".strip()
            for name, weights in {cell.model: cell.weights for cell in cells}.items()
        ),
    }


def _tasks(cells: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    return [
        (name, [c for c in cells if c.task == name and c.scores])
        for name in dict.fromkeys(cell.task for cell in cells)
    ]


def _of_task(named: tuple[str, list[Cell]]) -> Section:
    """Every figure of a task, and what was chosen on its development data."""
    name, cells = named
    figures = [
        [c.model, s.metric, f"{s.value:.4f}", _interval(s), s.resampled, _pairs(s.counts)]
        for c in cells
        for s in c.scores
    ]
    chosen = {
        (c.model, split, choice): None
        for c in cells
        for s in c.scores
        for split, choice in s.hyper_parameters.items()
    }
    task = TASKS[name]
    better = "lower is better" if name in LOWER_IS_BETTER else ""
    text = f"{task.about[0].upper()}{task.about[1:]}. Corpora: {', '.join(task.corpora)}."
    return Section(
        name,
        f"{text} {better}".strip(),
        [
            Table(["model", "figure", "value", "95 %", "drawn anew", "of"], figures),
            Table(["model", "split", "chosen on development data"], [list(each) for each in chosen]),
        ],
    )


def _interval(score: Score) -> str:
    return NOTHING if score.interval is None else f"{score.interval[0]:.4f} to {score.interval[1]:.4f}"


def _pairs(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{value} {name}" for name, value in counts.items())
