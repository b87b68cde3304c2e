"""What is measured is stored at once, and found again by the next call with the same settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earkit.benchmarks import results
from earkit.benchmarks.results import Cells, Row, load, load_rows, measured, store


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path


def test_cells_go_on_where_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    first = Cells("table", steps=3)
    assert first.find(name="a", seed=0) is None
    first.keep([{"name": "a", "seed": 0, "depth": 2}, {"name": "a", "seed": 0, "depth": 4}])
    first.keep([{"name": "b", "seed": 0}])
    assert capsys.readouterr().out.splitlines()[1] == str({"name": "a", "seed": 0, "depth": 4})
    again = Cells("table", steps=3)
    assert again.find(name="a", seed=0) == {"name": "a", "seed": 0, "depth": 2}
    assert again.find(seed=0, name="b")
    assert not again.find(name="a", seed=1)
    assert not again.find(name="a", speed=1)
    assert again.rows == first.rows
    stored = load("table")
    assert stored["command"] == "python -m earkit.benchmarks.table"
    assert stored["settings"] == {"steps": 3}


def test_other_settings_begin_anew() -> None:
    Cells("table", steps=3).keep([{"name": "a"}])
    assert Cells("table", steps=4).rows == []
    assert Cells("other", steps=3).rows == []


def test_half_a_cell_is_not_stored(folder: Path) -> None:
    def stopped() -> Iterator[Row]:
        yield {"name": "a"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cells("table").keep(stopped())
    assert list(folder.iterdir()) == []


def test_settings_are_compared_as_json_has_them() -> None:
    store("table", "python -m x", [{"a": 1}], lengths=(1, 10))
    assert load_rows("table", {"lengths": (1, 10)}) == [{"a": 1}]
    assert load_rows("table", {"lengths": (1, 60)}) == []


@pytest.mark.parametrize(("cores", "counted"), [(1, "1 core"), (2, "2 cores")])
def test_where_and_how_it_was_measured(cores: int, counted: str) -> None:
    store("table", "python -m x", [])
    stored = load("table")
    stored["machine"]["cores"] = cores
    said = measured(stored)
    assert f"Measured on {counted} of {stored['machine']['processor']}" in said
    assert said.endswith("again with `python -m x`.")


def test_a_result_from_before_instruction_sets_were_named() -> None:
    machine = {"cores": 2, "processor": "a box", "packages": {"torch": "2"}}
    stored = {"machine": machine, "command": "python -m x"}
    assert measured(stored) == "Measured on 2 cores of a box, torch 2; again with `python -m x`."
    machine["instruction_sets"] = ["avx2", "avx512_vnni"]
    assert measured(stored).startswith("Measured on 2 cores of a box (avx2, avx512_vnni), torch 2;")
