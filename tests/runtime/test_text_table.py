"""Columns of text and of figures, each as wide as its widest cell."""

from earkit.runtime.text_table import described, text_table

LINES = [("", "MB", "", "why"), ("tiny", "13.90", "", ""), ("tiny-int8", "4.1", "", "fast")]


def test_names_stand_left_and_figures_right() -> None:
    assert text_table([line[:2] for line in LINES]).splitlines() == [
        "              MB",
        "tiny       13.90",
        "tiny-int8    4.1",
    ]


def test_other_columns_are_text_too_and_no_line_ends_in_spaces() -> None:
    assert text_table(LINES, left=(0, -1)).splitlines() == [
        "              MB    why",
        "tiny       13.90",
        "tiny-int8    4.1    fast",
    ]
    assert text_table([("a", "bc"), ("def", "")], left=()).splitlines() == ["  a  bc", "def"]


def test_what_is_described_stands_beside_its_name() -> None:
    assert described({"clips": 3, "manifest": "a.csv"}.items()) == "clips     3\nmanifest  a.csv"
