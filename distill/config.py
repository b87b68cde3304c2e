"""Frozen dataclasses to and from TOML: unknown keys and wrong types are refused, never ignored."""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from earkit.runtime.errors import ConfigError

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no configuration file {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def read_config(kind: type[T], path: Path) -> T:
    """Make a dataclass of a TOML file."""
    return build(kind, read_toml(path), str(path))


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass (with nested ones) of plain values; `where` names the source in errors."""
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key}{hint}")
    for field in dataclasses.fields(kind):
        wanted = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if wanted and field.name not in values:
            raise ConfigError(f"{where}: {field.name} is missing")
    made = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    return kind(**made)


def _convert(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - TOML values are of any type
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table")
        return build(kind, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} must be one of {', '.join(map(str, arguments))}, not {value}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin in (typing.Union, types.UnionType):  # only `X | None` occurs, and TOML has no None
        return _convert(arguments[0], value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where} must be of type {kind.__name__}, not {value!r}")
    return value


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401 - as above
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} must be a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where} must hold {len(kinds)} values, not {len(value)}")
    return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def to_toml(config: Any) -> str:  # noqa: ANN401 - any dataclass
    """Write a dataclass as TOML; what is None is left out."""
    return "\n".join(_lines(dataclasses.asdict(config), "")) + "\n"


def _lines(values: Mapping[str, Any], prefix: str) -> list[str]:
    plain = [f"{k} = {_literal(v)}" for k, v in values.items() if not _is_table(v) and v is not None]
    lines = ([f"[{prefix}]"] if prefix and plain else []) + plain
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            lines += ["", *_lines(value, name)]
        elif _is_table(value):
            for item in value:
                lines += ["", f"[[{name}]]", *_lines(item, "")]
    return lines


def _is_table(value: Any) -> bool:  # noqa: ANN401 - any plain value
    """Whether it is written as a table, or as several of one name (flat ones)."""
    first = value[0] if isinstance(value, tuple | list) and value else value
    return isinstance(first, Mapping)


def _literal(value: Any) -> str:  # noqa: ANN401 - any plain value
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def override(values: dict[str, Any], pairs: Sequence[str]) -> None:
    """Put `table.key=value` settings into what `read_toml` gave; values as in TOML, a bare word a string."""
    for pair in pairs:
        dotted, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: write it as key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        *tables, key = dotted.strip().split(".")
        inner = values
        for table in tables:
            inner = inner.setdefault(table, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {pair}: {table} is not a table")
        inner[key] = value
