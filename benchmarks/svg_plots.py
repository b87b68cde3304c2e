"""Plots as inline SVG: points, lines and bars with direct labels; the page around them brings the colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element, SubElement

from earkit.benchmarks.plot_axis import Axis, axis, tick_text

WIDTH, HEIGHT = 640, 360  # all in pixels of the drawing, which the page scales
LEFT, RIGHT, TOP, BOTTOM = 60, 620, 30, 310  # the frame of the values
LETTER = 6.6  # about the width of a letter, from which the room for a label is guessed
LINE = 15  # the height of one
COLOURS = 8


@dataclass(frozen=True)
class Point:
    """One thing at its place; those of one group share a colour."""

    name: str
    x: float
    y: float
    group: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points with their names beside them; x and y say what the axes are."""

    points: Sequence[Point]
    x: str
    y: str
    log_x: bool = False


@dataclass(frozen=True)
class Lines:
    """Curves by name, each through its (x, y) in the order given."""

    series: Mapping[str, Sequence[tuple[float, float]]]
    x: str
    y: str
    log_x: bool = False


@dataclass(frozen=True)
class Bars:
    """Horizontal bars by name, from 0."""

    values: Mapping[str, float]
    unit: str


@dataclass(frozen=True)
class Flow:
    """Steps from left to right, each with a short note under its name."""

    steps: Mapping[str, str]


Plot = Scatter | Lines | Bars | Flow


def draw(plot: Plot) -> Element:
    """Draw a plot; its numbers stand in titles too, for who listens or points at them."""
    match plot:
        case Scatter():
            return _scatter(plot)
        case Lines():
            return _lines(plot)
        case Bars():
            return _bars(plot)
        case Flow():
            return _flow(plot)


def _scatter(plot: Scatter) -> Element:
    groups = {point.group: None for point in plot.points}
    named = [group for group in groups if group]
    svg = _svg(f"{plot.y} against {plot.x}", HEIGHT + 24 * bool(named))
    across, up = _frame(svg, plot, [p.x for p in plot.points], [p.y for p in plot.points], RIGHT)
    places = [(across.at(p.x), up.at(p.y)) for p in plot.points]
    colours = {group: f"c{i % COLOURS}" for i, group in enumerate(groups)}
    for point, (x, y) in zip(plot.points, places, strict=True):
        mark = SubElement(
            svg, "circle", {"cx": _px(x), "cy": _px(y), "r": "5", "class": colours[point.group]}
        )
        _title(mark, f"{point.name}: {point.x:.4g} {plot.x}, {point.y:.4g} {plot.y}")
    for point, box in zip(plot.points, _beside(plot.points, places), strict=True):
        _text(svg, box.left, box.bottom - 4, point.name)
    left = float(LEFT)
    for group in named:
        SubElement(svg, "circle", {"cx": _px(left), "cy": _px(HEIGHT + 8), "r": "5", "class": colours[group]})
        _text(svg, left + 10, HEIGHT + 12, group)
        left += 30 + LETTER * len(group)
    return svg


def _lines(plot: Lines) -> Element:
    svg = _svg(f"{plot.y} along {plot.x}: {', '.join(plot.series)}", HEIGHT)
    every = [at for series in plot.series.values() for at in series]
    right = WIDTH - 12 - LETTER * max(map(len, plot.series), default=0)
    across, up = _frame(svg, plot, [x for x, _ in every], [y for _, y in every], right)
    drawn = {name: series for name, series in plot.series.items() if series}
    ends = _spread([up.at(series[-1][1]) for series in drawn.values()])
    for i, ((name, series), end) in enumerate(zip(drawn.items(), ends, strict=True)):
        at = " ".join(f"{_px(across.at(x))},{_px(up.at(y))}" for x, y in series)
        line = SubElement(svg, "polyline", {"points": at, "class": f"line c{i % COLOURS}"})
        _title(line, f"{name}: from {series[0][1]:.4g} to {series[-1][1]:.4g}")
        _text(svg, right + 6, end + 4, name, f"c{i % COLOURS}")
    return svg


def _bars(plot: Bars) -> Element:
    svg = _svg(f"{plot.unit}: {', '.join(plot.values)}", 20 + 26 * len(plot.values))
    left = 12 + LETTER * max(map(len, plot.values), default=0)
    shown = {name: f"{value:.4g} {plot.unit}" for name, value in plot.values.items()}
    room = LETTER * max(map(len, shown.values()), default=0)
    across = axis([0, *plot.values.values()], left, WIDTH - 12 - room)
    for i, (name, value) in enumerate(plot.values.items()):
        top = 10 + 26 * i
        ends = sorted((across.at(0), across.at(value)))
        place = {"x": _px(ends[0]), "y": _px(top), "width": _px(ends[1] - ends[0]), "height": "18"}
        _title(SubElement(svg, "rect", place | {"class": "c0"}), f"{name}: {shown[name]}")
        _text(svg, left - 6, top + 13, name, "left-of")
        _text(svg, ends[1] + 6, top + 13, shown[name], "quiet")
    return svg


def _flow(plot: Flow) -> Element:
    svg = _svg(", then ".join(f"{name} ({note})" for name, note in plot.steps.items()), 64)
    gap = 16
    wide = (WIDTH - 4 - gap * (len(plot.steps) - 1)) / max(1, len(plot.steps))
    for i, (name, note) in enumerate(plot.steps.items()):
        left = 2 + i * (wide + gap)
        place = {"x": _px(left), "y": "6", "width": _px(wide), "height": "52", "rx": "8"}
        SubElement(svg, "rect", place | {"class": "box"})
        _text(svg, left + wide / 2, 28, name, "middle")
        _text(svg, left + wide / 2, 46, note, "quiet middle")
        if i:
            tip = f"{_px(left - 1)},32"
            back = f"{_px(left - 8)},27 {_px(left - 8)},37"
            _rule(svg, (left - gap, 32), (left - 6, 32))
            SubElement(svg, "polygon", {"points": f"{tip} {back}", "class": "tip"})
    return svg


def _frame(
    svg: Element, plot: Scatter | Lines, xs: Sequence[float], ys: Sequence[float], right: float
) -> tuple[Axis, Axis]:
    """Draw both axes with their ticks; gives them."""
    across, up = axis(xs, LEFT, right, log=plot.log_x), axis(ys, BOTTOM, TOP)
    for tick in across.ticks:
        _rule(svg, (across.at(tick), BOTTOM), (across.at(tick), TOP))
        _text(svg, across.at(tick), BOTTOM + 18, tick_text(tick), "quiet middle")
    for tick in up.ticks:
        _rule(svg, (LEFT, up.at(tick)), (right, up.at(tick)))
        _text(svg, LEFT - 8, up.at(tick) + 4, tick_text(tick), "quiet left-of")
    _text(svg, (LEFT + right) / 2, BOTTOM + 38, plot.x + ", logarithmic" * plot.log_x, "quiet middle")
    _text(svg, 4, TOP - 14, plot.y, "quiet")
    return across, up


@dataclass(frozen=True)
class _Box:
    """The room of a label."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        """Give the area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0) * max(high, 0)


def _beside(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> list[_Box]:
    """Place each label right of its point, or left, above or below it: where it covers least."""
    taken = [_Box(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    sheet = _Box(0, TOP - 10, WIDTH, BOTTOM)

    def harm(box: _Box) -> float:
        outside = (box.right - box.left) * LINE - box.overlap(sheet)
        return outside + sum(map(box.overlap, taken))

    boxes: list[_Box] = []
    for point, (x, y) in zip(points, places, strict=True):
        wide = LETTER * len(point.name)
        corners = ((x + 9, y - 8), (x - 9 - wide, y - 8), (x - wide / 2, y - 23), (x - wide / 2, y + 8))
        boxes.append(min((_Box(left, top, left + wide, top + LINE) for left, top in corners), key=harm))
        taken.append(boxes[-1])
    return boxes


def _spread(heights: Sequence[float]) -> list[float]:
    """Move labels at these heights apart: first down, then up from the end of the frame."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    spread = list(heights)
    for above, below in pairwise(order):
        spread[below] = max(spread[below], spread[above] + LINE)
    for i, label in enumerate(reversed(order)):
        spread[label] = min(spread[label], BOTTOM - LINE * i)
    return spread


def _svg(title: str, height: float) -> Element:
    svg = Element("svg", {"viewBox": f"0 0 {WIDTH} {height:g}", "role": "img", "aria-label": title})
    _title(svg, title)
    return svg


def _title(of: Element, text: str) -> None:
    SubElement(of, "title").text = text


def _rule(svg: Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x1, y1), (x2, y2) = start, end
    SubElement(svg, "line", {"x1": _px(x1), "y1": _px(y1), "x2": _px(x2), "y2": _px(y2), "class": "rule"})


def _text(svg: Element, x: float, y: float, text: str, kind: str = "") -> None:
    SubElement(svg, "text", {"x": _px(x), "y": _px(y), "class": kind}).text = text


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
