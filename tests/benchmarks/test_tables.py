from earkit.benchmarks.results import FOLDER
from earkit.benchmarks.tables import PAGES, README, TABLES, filled


def test_every_page_shows_the_stored_results() -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for name in (file.stem for file in FOLDER.glob("*.json")):
        assert name in TABLES, f"{name} has no table"
        assert any(f"<!-- table {name} -->" in text for text in texts.values()), f"{name} is on no page"
    for page, text in texts.items():
        assert filled(text) == text, f"{page.name}: run python -m earkit.benchmarks.tables"


def test_a_changed_number_would_be_noticed() -> None:
    text = README.read_text(encoding="utf-8")
    place = text.index("| `dinosr_nano`, trained | ") + len("| `dinosr_nano`, trained | ")
    assert filled(text[:place] + "9" + text[place:]) == filled(text) != text[:place] + "9" + text[place:]
