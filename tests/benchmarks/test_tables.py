from earkit.benchmarks.tables import README, TABLES, filled


def test_the_readme_shows_the_stored_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"<!-- table {name} -->" in text for name in TABLES)
    assert filled(text) == text, "run: python -m earkit.benchmarks.tables"


def test_a_changed_number_would_be_noticed() -> None:
    text = README.read_text(encoding="utf-8")
    place = text.index("| `dinosr_nano`, trained | ") + len("| `dinosr_nano`, trained | ")
    assert filled(text[:place] + "9" + text[place:]) == filled(text) != text[:place] + "9" + text[place:]
