"""The page of a report: read back by parsers, its plots compared with pixels by hand."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from math import log10
from xml.etree import ElementTree as ET

import pytest

from earkit.benchmarks.html_page import Bars, Lines, Point, Scatter, Section, Table, page
from earkit.benchmarks.plot_axis import tick_text
from earkit.runtime.errors import DataError

NASTY = "<script>alert('x')</script> & \"quotes\" \x00 \udc80"


def body(*parts: Table | Scatter | Lines | Bars) -> ET.Element:
    whole = ET.fromstring(page("t", [Section("s", "text", parts)], {}))
    found = whole.find("body/section")
    assert found is not None
    return found


def circles(plot: Scatter) -> dict[str, tuple[float, float]]:
    found = {}
    for circle in body(plot).iter("circle"):
        title = circle.find("title")
        if title is not None:
            found[(title.text or "").partition(":")[0]] = (
                float(circle.attrib["cx"]),
                float(circle.attrib["cy"]),
            )
    return found


def texts(section: ET.Element) -> list[str]:
    return [text.text or "" for text in section.iter("text")]


class Balanced(HTMLParser):
    """Fails on an element that is closed without being open, as browsers would see it."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "meta"  # HTML would read any other as open

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def nasty_page() -> str:
    parts = (
        Table([NASTY], [[NASTY], [""]]),
        Scatter([Point(NASTY, 1, 1, NASTY)], NASTY, NASTY),
        Lines({NASTY: [(0, 1)]}, NASTY, NASTY),
        Bars({NASTY: 1}, NASTY),
    )
    return page(NASTY, [Section(NASTY, NASTY, parts)], {NASTY: NASTY})


def test_whatever_the_texts_both_parsers_read_the_page_and_find_no_script() -> None:
    text = nasty_page()
    text.encode()  # no half of a surrogate is left
    reader = Balanced()
    reader.feed(text)
    assert reader.open == []
    assert "script" not in reader.seen
    names = {element.tag for element in ET.fromstring(text).iter()}
    assert "script" not in names
    assert {"svg", "table", "polyline", "rect", "circle", "dl"} <= names


def test_texts_come_back_as_they_were_but_for_what_no_page_can_hold() -> None:
    whole = ET.fromstring(nasty_page())
    kept = NASTY.replace("\x00", "\ufffd").replace("\udc80", "\ufffd")
    for place in (
        "head/title",
        "body/h1",
        "body/section/h2",
        "body/section/p",
        ".//th",
        ".//td",
        ".//dt",
        ".//dd",
    ):
        assert whole.findtext(place) == kept
    assert kept in texts(whole)


def test_nothing_comes_from_elsewhere() -> None:
    text = nasty_page()
    assert not re.search(r"https?:|src=|href=|url\(|@import|<link|<iframe", text)


def test_points_lie_where_the_hand_finds_them() -> None:
    # Ticks of 0 to 10 are 0, 2 ... 10 across 60 to 620; of 0.5 to 1 they are 0.5, 0.6 ... 1 up 310 to 30.
    found = circles(Scatter([Point("a", 0, 0.5), Point("b", 5, 0.75), Point("c", 10, 1)], "ms", "quality"))
    assert found == {"a": (60, 310), "b": (340, 170), "c": (620, 30)}


def test_axes_reach_to_the_next_round_tick() -> None:
    # 1 to 9: steps of 2 from 0 to 10. 12 to 33: steps of 5 from 10 to 35.
    plot = Scatter([Point("a", 1, 12), Point("b", 9, 33)], "x", "y")
    assert [t for t in texts(body(plot)) if t not in {"a", "b", "x", "y"}] == [
        *("0", "2", "4", "6", "8", "10"),
        *("10", "15", "20", "25", "30", "35"),
    ]
    assert circles(plot) == {"a": (116, 287.6), "b": (564, 52.4)}


def test_a_logarithmic_axis() -> None:
    # 3 to 300: from 2 to 500, by 1, 2, 5.
    plot = Scatter([Point("a", 3, 0), Point("b", 300, 1), Point("c", 20, 0)], "MB", "y", log_x=True)
    assert [t for t in texts(body(plot)) if t in {"1", "2", "5", "10", "20", "50", "100", "200", "500"}][
        :8
    ] == [*("2", "5", "10", "20", "50", "100", "200", "500")]
    found = circles(plot)
    for name, value in {"a": 3, "b": 300, "c": 20}.items():
        assert found[name][0] == pytest.approx(60 + 560 * log10(value / 2) / log10(500 / 2), abs=0.06)
    far = Scatter([Point("a", 0.001, 0), Point("b", 1000, 1)], "MB", "y", log_x=True)
    assert texts(body(far))[:7] == ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]


def test_a_line_goes_through_its_points_in_order() -> None:
    section = body(Lines({"loss": [(0, 4), (100, 2), (50, 0)], "other": [(0, 0)]}, "step", "loss"))
    first, _ = section.iter("polyline")
    right = 640 - 12 - 6.6 * len("other")
    middle = f"{(60 + right) / 2:.1f}".removesuffix(".0")
    assert first.attrib["points"] == f"60,30 {right:g},170 {middle},310"


def test_bars_are_as_long_as_their_values() -> None:
    long, short, negative = body(Bars({"long": 8, "short": 2, "less": -4}, "ms")).iter("rect")
    width = float(long.attrib["width"])
    assert float(short.attrib["width"]) == pytest.approx(width / 4, abs=0.1)
    assert float(negative.attrib["width"]) == pytest.approx(width / 2, abs=0.1)
    zero = float(long.attrib["x"])
    assert float(short.attrib["x"]) == zero
    assert float(negative.attrib["x"]) + float(negative.attrib["width"]) == pytest.approx(zero, abs=0.1)


def test_bars_begin_at_zero() -> None:
    long, short = body(Bars({"long": 8, "short": 6}, "ms")).iter("rect")
    assert float(short.attrib["width"]) == pytest.approx(0.75 * float(long.attrib["width"]), abs=0.1)
    assert float(long.attrib["x"]) > 6.6 * len("short")  # right of its name


@pytest.mark.parametrize("value", [0.0, 3.7, -2.0, 1e-9, 5e8])
def test_equal_values_still_have_an_axis(value: float) -> None:
    ((x, y),) = circles(Scatter([Point("a", value, value)], "x", "y")).values()
    assert 60 <= x <= 620
    assert 30 <= y <= 310


def boxes(section: ET.Element, names: set[str]) -> list[tuple[float, float, float, float]]:
    return [
        (
            float(t.attrib["x"]),
            float(t.attrib["y"]) - 11,
            float(t.attrib["x"]) + 6.6 * len(t.text),
            float(t.attrib["y"]),
        )
        for t in section.iter("text")
        if t.text in names
    ]


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_labels_keep_clear_of_each_other_and_of_points() -> None:
    # "a" has no room to the right, where "b" is; "right edge" none where the sheet ends.
    points = [Point("first", 5, 5), Point("second", 5.3, 5), Point("right edge", 10, 5), Point("zero", 0, 0)]
    section = body(Scatter(points, "x", "y"))
    found = boxes(section, {point.name for point in points})
    marks = [(x - 5, y - 5, x + 5, y + 5) for x, y in circles(Scatter(points, "x", "y")).values()]
    for i, box in enumerate(found):
        assert not any(overlap(box, other) for other in [*found[:i], *marks])
        assert box[0] >= 0
        assert box[2] <= 640


@pytest.mark.parametrize("ends", [(1.0, 0.0), (0.0, 1.0)])
def test_labels_of_lines_that_end_together_stand_apart(ends: tuple[float, float]) -> None:
    names = {f"line {i}" for i in range(6)}
    section = body(Lines({name: list(enumerate(ends)) for name in sorted(names)}, "x", "y"))
    heights = sorted(float(t.attrib["y"]) for t in section.iter("text") if t.text in names)
    assert all(below - above >= 14 for above, below in pairwise(heights))
    assert heights[-1] <= 340


def test_groups_share_colours_and_are_explained() -> None:
    section = body(
        Scatter([Point("a", 0, 0, "ours"), Point("b", 1, 1, "peers"), Point("c", 2, 0, "ours")], "x", "y")
    )
    classes = [circle.attrib["class"] for circle in section.iter("circle")]
    assert classes == ["c0", "c1", "c0", "c0", "c1"]  # the points, then the legend
    assert {"ours", "peers"} <= set(texts(section))


def test_every_plot_has_a_name_for_who_listens() -> None:
    section = body(
        Scatter([Point("a", 0, 0)], "ms", "phones"),
        Lines({"l": [(0, 0)]}, "step", "loss"),
        Bars({"b": 1}, "MB"),
    )
    for svg in section.iter("svg"):
        assert svg.attrib["role"] == "img"
        assert svg.attrib["aria-label"] == svg.findtext("title")


def test_columns_of_numbers_are_told_from_text() -> None:
    section = body(Table(["model", "ms", "retention"], [["tiny", "3.1", "97%"], ["log-mel", "", "-"]]))
    assert [th.attrib.get("class", "") for th in section.iter("th")] == ["", "number", "number"]


def test_paragraphs() -> None:
    whole = ET.fromstring(page("t", [Section("s", "one\n\ntwo", ())], {"commit": "abc"}))
    assert [p.text for p in whole.iter("p")] == ["one", "two"]
    assert (whole.findtext(".//dt"), whole.findtext(".//dd")) == ("commit", "abc")


@pytest.mark.parametrize(
    "plot",
    [
        Scatter([], "x", "y"),
        Lines({}, "x", "y"),
        Scatter([Point("a", 0, 1)], "x", "y", log_x=True),
        Lines({"a": [(0, float("nan"))]}, "x", "y"),
        Bars({"a": float("inf")}, "ms"),
    ],
)
def test_what_has_no_place_is_refused(plot: Scatter | Lines | Bars) -> None:
    with pytest.raises(DataError, match="a plot"):
        page("t", [Section("s", "", [plot])], {})


def test_a_row_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="a row of 1 cells under 2 headings"):
        Table(["a", "b"], [["1"]])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (1500, "1500"), (20_000, "20k"), (2.5e6, "2.5M"), (-3e4, "-30k")],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text
