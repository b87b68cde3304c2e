"""Which notes of a library are heard."""

from pathlib import Path

from earkit.benchmarks.tasks.instruments import NOTES, select
from earkit.distill.data.manifests import Row


def note(index: int, text: str, split: str = "train") -> Row:
    labels = {"package": f"library of {split}", "split": split, "label": "reed", "text": text}
    return Row(index, "", Path(f"{index}.flac"), None, None, labels)


def test_an_instrument_of_many_notes_is_heard_by_a_few_from_its_first_to_its_last() -> None:
    oboe = [note(i, f"Oboe C{i}") for i in range(9)]
    horn = [note(9 + i, f"Horn C{i}") for i in range(2)]
    other = [note(11, "Oboe C1", "test")]
    taken = select([*oboe, *horn, *other])
    assert NOTES == 3
    assert taken == [*other, *horn, oboe[0], oboe[4], oboe[8]]
