import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from earkit.distill.config import build, override, read_config, read_toml, to_toml
from earkit.runtime.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    pair: tuple[float, float] = (0.1, 0.2)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    name: str = "x"
    flag: bool = False
    path: str | None = None
    inner: Inner = field(default_factory=Inner)


def test_round_trip(tmp_path: Path) -> None:
    config = Outer(steps=5, name='quo"te\n', flag=True, inner=Inner(1e-9, (3.0, 4.0), "b"))
    file = tmp_path / "c.toml"
    file.write_text(to_toml(config))
    assert read_config(Outer, file) == config


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"stepz": 1}, "did you mean steps"),
        ({"steps": "many"}, "type int"),
        ({"steps": True}, "type int"),
        ({"inner": {"kind": "c"}}, "one of a, b"),
        ({"inner": {"pair": [1.0]}}, "2 values"),
        ({"inner": 3}, "table"),
        ({"inner": {"speed": 1}}, "unknown key speed"),
    ],
)
def test_what_means_nothing_is_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build(Outer, values, "here")


def test_an_integer_is_a_fine_float() -> None:
    assert build(Inner, {"rate": 2}, "here").rate == 2.0


def test_overrides() -> None:
    values: dict[str, Any] = {"steps": 1}
    override(values, ["steps=7", "inner.rate=1e-3", "inner.kind=b", "name=word"])
    assert build(Outer, values, "here") == Outer(7, "word", inner=Inner(0.001, kind="b"))
    with pytest.raises(ConfigError, match="key=value"):
        override(values, ["steps"])
    with pytest.raises(ConfigError, match="not a table"):
        override(values, ["steps.more=1"])


def test_broken_or_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_toml(tmp_path / "bad.toml")


@dataclass(frozen=True)
class Row:
    name: str
    weight: float = 1.0
    pairs: tuple[tuple[int, int], ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Table:
    steps: int = 3
    rows: tuple[Row, ...] = ()
    inner: Inner = field(default_factory=Inner)


def test_rows_are_an_array_of_tables(tmp_path: Path) -> None:
    rows = (Row("one", 0.5, ((1, 2), (3, 4))), Row('tw"o', note="n"), Row("three"))
    config = Table(7, rows, Inner(2.0))
    text = to_toml(config)
    assert text.count("[[rows]]") == 3
    assert tomllib.loads(text) == {
        "steps": 7,
        "rows": [
            {"name": "one", "weight": 0.5, "pairs": [[1, 2], [3, 4]]},
            {"name": 'tw"o', "weight": 1.0, "pairs": [], "note": "n"},
            {"name": "three", "weight": 1.0, "pairs": []},
        ],
        "inner": {"rate": 2.0, "pair": [0.1, 0.2], "kind": "a"},
    }
    (tmp_path / "c.toml").write_text(text)
    assert read_config(Table, tmp_path / "c.toml") == config


def test_rows_within_a_table_and_no_rows_at_all() -> None:
    @dataclass(frozen=True)
    class Outermost:
        table: Table = field(default_factory=Table)
        last: Inner = field(default_factory=Inner)

    text = to_toml(Outermost(Table(rows=(Row("a"), Row("b")))))
    assert [row["name"] for row in tomllib.loads(text)["table"]["rows"]] == ["a", "b"]
    assert tomllib.loads(text)["table"]["inner"] == tomllib.loads(text)["last"]
    assert tomllib.loads(to_toml(Outermost()))["table"]["rows"] == []
    assert build(Table, tomllib.loads(to_toml(Table())), "c") == Table()


def test_a_wrong_row_says_where() -> None:
    with pytest.raises(ConfigError, match=r"here: rows: unknown key wait; did you mean weight\?"):
        build(Table, {"rows": [{"name": "a"}, {"name": "b", "wait": 2}]}, "here")
    with pytest.raises(ConfigError, match="rows must be a list"):
        build(Table, {"rows": {"name": "a"}}, "here")


def test_a_missing_key_is_named() -> None:
    @dataclass(frozen=True)
    class Needy:
        name: str
        weight: float = 1.0

    with pytest.raises(ConfigError, match="here: name is missing"):
        build(Needy, {"weight": 2.0}, "here")
