"""Reading a pickle without running it.

A pickle is a program whose instructions may import and call anything. Here the instructions are only
parsed (`pickletools.genops` decodes, it executes nothing) and replayed on a small stack machine that has
no way to import a module or to call anything: a named class or function stays a `Global`, two words; an
object that the pickle would build stays an `Inert`, a record of what it would have been built from. Plain
containers, numbers and strings come out as themselves.
"""

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from earkit.runtime.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Inert:
    """An object that was not built: what would have been called, with what, and the state given to it."""

    made_by: Global
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to something stored outside of the pickle; torch keeps tensor storages so."""

    key: Any


def load(data: bytes, may_build: Callable[[Global], bool]) -> Any:  # noqa: ANN401 - a pickle holds anything
    """Replay a pickle. One that would call something else than `may_build` admits is refused.

    The refusal is for the user's sake, nothing would be called anyway: a checkpoint that wants to run
    code is not what it claims to be.
    """
    try:
        return _Machine(may_build).run(data)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"its pickle is damaged ({error})") from error


class _Machine:
    """The pickle machine, reduced to what makes data. See `pickletools.opcodes` for what each code does."""

    def __init__(self, may_build: Callable[[Global], bool]) -> None:
        self.may_build = may_build
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # stacks under each open mark
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:  # noqa: ANN401 - see load
        for code, argument, position in pickletools.genops(data):
            if code.name in _LITERALS:
                self.push(argument)
            elif code.name in _CONSTANTS:
                self.push(_CONSTANTS[code.name]())
            elif code.name in _ACTIONS:
                _ACTIONS[code.name](self, argument)
            elif code.name not in _FRAMING:
                raise CheckpointError(
                    f"its pickle uses {code.name} at byte {position}, which no checkpoint needs"
                )
        return self.stack.pop()

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("stack underflow")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def pop_to_mark(self) -> list[Any]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    # The second argument of an action is what `genops` decoded behind its code, often nothing.

    def mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def drop_to_mark(self, _: object) -> None:
        self.pop_to_mark()

    def remember(self, slot: int) -> None:
        self.memo[slot] = self.stack[-1]

    def recall(self, slot: int) -> None:
        self.push(self.memo[slot])

    def new_instance(self, _: object) -> None:
        made_by, args = self.pop(2)
        self.build(made_by, args)

    def new_instance_with_keywords(self, _: object) -> None:
        made_by, args, keywords = self.pop(3)
        self.build(made_by, (*args, keywords))

    def old_instance(self, _: object) -> None:
        made_by, *args = self.pop_to_mark()
        self.build(made_by, tuple(args))

    def set_state(self, _: object) -> None:
        target, state = self.pop(2)
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, dict):  # a dictionary's state would be attributes on it; ours has none
            raise TypeError(f"state for a {type(target).__name__}")
        self.push(target)

    def build(self, made_by: object, args: object) -> None:
        """Push a record of what calling `made_by` would have made."""
        if isinstance(made_by, Global) and made_by in _DICTIONARIES and isinstance(args, tuple):
            # OrderedDict() or, in old pickles, OrderedDict([pairs]); defaultdict(factory) starts empty.
            items = args[0] if args and isinstance(args[0], list) else []
            self.push(dict(_pairs([part for pair in items for part in pair])))
        elif isinstance(made_by, Global) and isinstance(args, tuple) and self.may_build(made_by):
            self.push(Inert(made_by, args))
        else:
            name = ascii(str(made_by)) if isinstance(made_by, Global) else f"a {type(made_by).__name__}"
            raise CheckpointError(f"its pickle wants to call {name}, which no checkpoint needs")

    def fill_dict(self, flat: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(_pairs(flat))
        elif not isinstance(self.stack[-1], Inert):
            raise TypeError("items for what is no dictionary")

    def fill_list(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)
        elif not isinstance(self.stack[-1], Inert):
            raise TypeError("items for what is no list")

    def fill_set(self, items: list[Any]) -> None:
        self.stack[-1].update(_keys(items))


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(_keys(flat[::2]), flat[1::2], strict=True)


def _keys(keys: list[Any]) -> list[Any]:
    """Admit only flat keys: Python hashes a nested tuple recursively, and dies of one nested deep enough."""
    for key in keys:
        if not isinstance(key, _FLAT):
            raise TypeError(f"a {type(key).__name__} as a key")
    return keys


def _global(module: object, name: object) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("a name that is no text")
    return Global(module, name)


_FLAT = (str, bytes, int, float, type(None), Global, Inert)
_FRAMING = {"PROTO", "FRAME", "STOP"}
_DICTIONARIES = {Global("collections", "OrderedDict"), Global("collections", "defaultdict")}
# Codes that push the argument that `genops` decoded.
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "LIST": lambda m, _: m.push(m.pop_to_mark()),
    "APPEND": lambda m, _: m.fill_list(m.pop(1)),
    "APPENDS": lambda m, _: m.fill_list(m.pop_to_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop(3))),
    "DICT": lambda m, _: m.push(dict(_pairs(m.pop_to_mark()))),
    "SETITEM": lambda m, _: m.fill_dict(m.pop(2)),
    "SETITEMS": lambda m, _: m.fill_dict(m.pop_to_mark()),
    "ADDITEMS": lambda m, _: m.fill_set(m.pop_to_mark()),
    "FROZENSET": lambda m, _: m.push(frozenset(_keys(m.pop_to_mark()))),
    "GLOBAL": lambda m, words: m.push(_global(*words.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.push(_global(*m.pop(2))),
    "PERSID": lambda m, key: m.push(Persistent(key)),
    "BINPERSID": lambda m, _: m.push(Persistent(*m.pop(1))),
    "REDUCE": _Machine.new_instance,
    "NEWOBJ": _Machine.new_instance,
    "NEWOBJ_EX": _Machine.new_instance_with_keywords,
    "OBJ": _Machine.old_instance,
    "INST": lambda m, words: m.build(_global(*words.split(" ", 1)), tuple(m.pop_to_mark())),
    "BUILD": _Machine.set_state,
}
