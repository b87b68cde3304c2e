"""Tables as GitHub reads them: every line has as many cells as the head."""

from earkit.benchmarks.markdown_table import markdown_table


def test_a_table_and_its_note() -> None:
    made = markdown_table(("", "MB"), [["tiny", "13.9"], ["none", ""]], "Measured here.")
    assert made == "| | MB |\n|---|---|\n| tiny | 13.9 |\n| none | |\n\nMeasured here."


def test_without_a_note_it_ends_with_its_last_row() -> None:
    assert markdown_table(("a",), [["b"]]) == "| a |\n|---|\n| b |"
