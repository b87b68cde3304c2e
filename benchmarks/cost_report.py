"""Costs for people: tables in text and HTML, plots of scaling, and who is on the Pareto front."""

from collections.abc import Mapping, Sequence

from earkit.benchmarks.cost import COUNTED, Cost, timed
from earkit.benchmarks.html_page import Bars, Lines, Point, Scatter, Section, Table, page
from earkit.benchmarks.machine import about
from earkit.benchmarks.speed import BATCH_SECONDS, Speed
from earkit.runtime.text_table import NOTHING
from earkit.runtime.text_table import text_table as aligned

HOW = (
    "Medians of clips of noise, everyone in turns, each in a process of its own. Real-time factor: time to "
    "embed a clip over its length; a model of a fixed window is charged the window. Cold start: from "
    "starting a process to the vector of a clip of 1 s. Memory: the peak of a fresh process after 10 s."
)


def kinds(costs: Sequence[Cost]) -> list[tuple[int, int]]:
    """Length and threads of every time, in their order."""
    found = (kind.split() for kind in costs[0].seconds)
    return [(int(parts[0]), int(parts[2])) for parts in found]


def table(costs: Sequence[Cost]) -> tuple[list[str], list[list[str]]]:
    """Lay out heads and rows."""
    times = kinds(costs)
    heads = ["", "kind", "parameters", "MB", f"multiply-adds, {COUNTED} s"]
    heads += [f"real-time factor, {timed(*kind)}" for kind in times]
    heads += [f"times as fast, {timed(*kind)}" for kind in times if kind[0] == COUNTED]
    heads += ["cold start", "peak memory"]
    return heads, [_row(cost, times) for cost in costs]


def _row(cost: Cost, times: Sequence[tuple[int, int]]) -> list[str]:
    adds = cost.multiply_adds.get(str(COUNTED))
    return [
        cost.name,
        cost.about,
        f"{cost.parameters / 1e6:.2f} M" if cost.parameters else NOTHING,
        f"{cost.megabytes:.2f}" if cost.megabytes else NOTHING,
        f"{adds / 1e9:.3g} G" if adds is not None else NOTHING,
        *(f"{cost.seconds[timed(*kind)] / kind[0]:.3g}" for kind in times),
        *(f"{cost.times[timed(*kind)]:.3g}" for kind in times if kind[0] == COUNTED),
        f"{cost.cold_start:.2f} s",
        f"{cost.peak_mb:.0f} MB",
    ]


def text_table(costs: Sequence[Cost]) -> str:
    """Align the table for a terminal, one column a contestant."""
    heads, rows = table(costs)
    return aligned(list(zip(heads, *rows, strict=True)), left=range(1 + len(rows)))


def section(costs: Sequence[Cost]) -> Section:
    """Give the table of a page."""
    return Section("Cost", HOW, [Table(*table(costs))])


def pareto(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Name those of (cost, quality) that nobody beats: no other costs as little and is as good or better."""
    return {
        name
        for name, (cost, quality) in points.items()
        if not any(
            other_cost <= cost and other >= quality and (other_cost, other) != (cost, quality)
            for other_cost, other in points.values()
        )
    }


def front(points: Mapping[str, tuple[float, float]], x: str, y: str) -> Scatter:
    """Plot quality against cost; those on the front are a group of their own."""
    best = pareto(points)
    return Scatter(
        [
            Point(name, cost, quality, "on the Pareto front" if name in best else "behind it")
            for name, (cost, quality) in points.items()
        ],
        x,
        y,
        log_x=True,
    )


def html(speed: Speed) -> str:
    """Make the page of `kit bench`."""
    costs = speed.costs
    times = kinds(costs)
    threads = sorted({n for _, n in times})
    peaks = ", ".join(f"{value / 1e9:.0f} G multiply-adds/s on {n}" for n, value in speed.peak.items())
    sections = [
        section(costs),
        Section(
            "Length and threads",
            "Milliseconds by seconds of the clip on one thread, and those of a clip of 10 s by threads.",
            [
                Lines(_by_length(costs, times), "seconds of the clip", "milliseconds", log_x=True),
                Lines(_by_threads(costs, threads), "threads", "milliseconds"),
            ],
        ),
        Section(
            "Share of the machine's peak",
            f"Multiply-adds a second, clips of {COUNTED} s, as a share of the best that a product of "
            f"large float32 matrices reaches here ({peaks} threads). What NumPy transforms is not counted.",
            [
                Table(
                    ["", *(f"threads: {n}" for n in threads)],
                    [
                        [name, *(f"{share:.1%}" for share in each.values())]
                        for name, each in speed.of_peak.items()
                    ],
                )
            ],
        ),
    ]
    if speed.batches:
        sections.append(
            Section(
                "Batches",
                f"Milliseconds a clip of {BATCH_SECONDS} s by the size of the batch, on one thread.",
                [
                    Lines(
                        {
                            name: [(float(n), taken) for n, taken in each.items()]
                            for name, each in speed.batches.items()
                        },
                        "clips in a batch",
                        "milliseconds a clip",
                    )
                ],
            )
        )
    sections += [
        Section(
            f"Where the time goes: {name}",
            f"Shares of the time in nodes, clips of {COUNTED} s, one thread.",
            [Bars({operator: 100 * share for operator, share in each.items() if share >= 0.01}, "%")],
        )
        for name, each in speed.nodes.items()
    ]
    return page("Speed", sections, about())


def _by_length(
    costs: Sequence[Cost], times: Sequence[tuple[int, int]]
) -> dict[str, list[tuple[float, float]]]:
    return {
        cost.name: [(float(length), 1000 * cost.seconds[timed(length, n)]) for length, n in times if n == 1]
        for cost in costs
    }


def _by_threads(costs: Sequence[Cost], threads: Sequence[int]) -> dict[str, list[tuple[float, float]]]:
    return {
        cost.name: [(float(n), 1000 * cost.seconds[timed(COUNTED, n)]) for n in threads] for cost in costs
    }
