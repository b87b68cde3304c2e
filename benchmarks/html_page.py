"""A report as one HTML page of text, tables and plots, in light and dark, with nothing from elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from earkit.benchmarks.svg_plots import Bars, Flow, Lines, Plot, Point, Scatter, draw
from earkit.runtime.errors import DataError

__all__ = ["Bars", "Flow", "Lines", "Point", "Scatter", "Section", "Table", "page"]


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; columns of numbers are aligned right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise DataError(
                    f"a row of {len(row)} cells under {len(self.header)} headings: {', '.join(row)}"
                )


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs between blank lines, and what they speak of."""

    title: str
    text: str
    parts: Sequence[Table | Plot]


def page(title: str, sections: Sequence[Section], about: Mapping[str, str]) -> str:
    """Write the page; about: what was measured where, for its foot."""
    body = Element("body")
    SubElement(body, "h1").text = title
    for section in sections:
        made = SubElement(body, "section")
        SubElement(made, "h2").text = section.title
        for paragraph in filter(None, section.text.split("\n\n")):
            SubElement(made, "p").text = paragraph
        made.extend([_table(part) if isinstance(part, Table) else draw(part) for part in section.parts])
    listed = SubElement(SubElement(body, "footer"), "dl")
    for name, value in about.items():
        SubElement(listed, "dt").text = name
        SubElement(listed, "dd").text = value
    named = Element("title")
    named.text = title
    return _ILLEGAL.sub("\ufffd", _WHOLE.format(title=_html(named), style=_STYLE, body=_html(body)))


def _table(table: Table) -> Element:
    scrolled = Element("div", {"class": "wide"})
    made = SubElement(scrolled, "table")
    head = SubElement(SubElement(made, "thead"), "tr")
    columns = [[row[i] for row in table.rows] for i in range(len(table.header))]
    kinds = [{"class": "number"} if all(map(_NUMBER.match, column)) else {} for column in columns]
    for name, kind in zip(table.header, kinds, strict=True):
        SubElement(head, "th", {"scope": "col", **kind}).text = name
    body = SubElement(made, "tbody")
    for row in table.rows:
        line = SubElement(body, "tr")
        for cell, kind in zip(row, kinds, strict=True):
            SubElement(line, "td", kind).text = cell
    return scrolled


def _html(element: Element) -> str:
    """Write both ends of every element: HTML knows no others, and XML reads them too."""
    return tostring(element, encoding="unicode", short_empty_elements=False)


_NUMBER = re.compile(r"\s*$|-$|[-+\u2212]?[\d.]")
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in HTML and XML alike

_WHOLE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
{title}
<style>{style}</style>
</head>
{body}
</html>
"""

_STYLE = """
:root {
  color-scheme: light dark;
  --ink: light-dark(#1a202c, #e6e9ee);
  --quiet: light-dark(#4a5568, #a9b3c1);
  --paper: light-dark(#ffffff, #14181f);
  --line: light-dark(#dde3ea, #2f3845);
  font: 1rem/1.5 system-ui, sans-serif;
}
body { max-width: 52rem; margin: 0 auto; padding: 1rem; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; }
h2 { margin: 2.2rem 0 0.5rem; font-size: 1.2rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 1.2rem 0.25rem 0; text-align: left; border-bottom: 1px solid var(--line); }
td:first-child { white-space: nowrap; }
th.number, td.number { text-align: right; }
footer { margin-top: 3rem; color: var(--quiet); font-size: 0.85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 44rem; height: auto; margin: 1rem 0; }
svg text { font-size: 12px; fill: var(--ink); }
svg .quiet { fill: var(--quiet); }
svg .middle { text-anchor: middle; }
svg .left-of { text-anchor: end; }
svg .rule { stroke: var(--line); }
svg .tip { fill: var(--quiet); }
svg .line { fill: none; stroke: var(--colour); stroke-width: 2; stroke-linejoin: round; }
svg circle, svg rect, svg text.c0, svg text.c1, svg text.c2, svg text.c3, svg text.c4, svg text.c5,
svg text.c6, svg text.c7 { fill: var(--colour); }
svg rect.box { fill: none; stroke: var(--quiet); }
.c0 { --colour: light-dark(#2b6cb0, #7fb4ea); }
.c1 { --colour: light-dark(#b7530c, #f0a35e); }
.c2 { --colour: light-dark(#1f7a4d, #6cc79a); }
.c3 { --colour: light-dark(#8b3fa0, #d59be6); }
.c4 { --colour: light-dark(#a81f3d, #f58ba0); }
.c5 { --colour: light-dark(#5f6b00, #c3cf57); }
.c6 { --colour: light-dark(#006d77, #66c7d0); }
.c7 { --colour: light-dark(#595959, #bdbdbd); }
"""
