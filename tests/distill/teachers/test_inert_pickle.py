"""The inert reader against Python's own pickle: the same data, and nothing is ever called."""

import io
import pickle
import pickletools
from collections import OrderedDict, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earkit.distill.teachers.inert_pickle import Global, Inert, Persistent, load
from earkit.runtime.errors import CheckpointError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers()
DATA = st.recursive(
    SCALARS, lambda x: st.lists(x) | st.dictionaries(KEYS, x) | st.lists(x).map(tuple), max_leaves=15
)


def nothing(_: Global) -> bool:
    return False


@settings(max_examples=60, deadline=None)
@given(data=DATA, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_what_pickle_reads(data, protocol) -> None:
    dumped = pickle.dumps(data, protocol)
    assert repr(load(dumped, nothing)) == repr(pickle.loads(dumped))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_shared_and_cyclic_containers_stay_so(protocol) -> None:
    shared = [1]
    data = {"a": shared, "b": shared, "ordered": OrderedDict(x=1, y=[2])}
    data["self"] = data
    read = load(pickle.dumps(data, protocol), nothing)
    assert read["a"] is read["b"]
    assert read["self"] is read
    assert read["ordered"] == {"x": 1, "y": [2]}


def test_newer_containers() -> None:
    data = [{1, 2}, frozenset((3,)), b"bytes", bytearray(b"more"), defaultdict(list, a=[1])]
    assert load(pickle.dumps(data, 5), nothing) == [{1, 2}, {3}, b"bytes", b"more", {"a": [1]}]


class Settings:
    def __init__(self) -> None:
        self.layers = 12


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_stay_records(protocol) -> None:
    read = load(pickle.dumps(Settings(), protocol), lambda name: name.name == "Settings")
    assert isinstance(read, Inert)
    assert read.made_by == Global(Settings.__module__, "Settings")
    assert read.state == {"layers": 12}
    with pytest.raises(CheckpointError, match=r"wants to call .*Settings"):
        load(pickle.dumps(Settings(), protocol), nothing)


def test_a_reference_to_what_lies_outside() -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", "7") if obj is Ellipsis else None

    file = io.BytesIO()
    Pickler(file, 2).dump([...])
    assert load(file.getvalue(), nothing) == [Persistent(("storage", "7"))]


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"cbuiltins\neval\n(S'1'\ntR.", id="reduce"),
        pytest.param(b"(ibuiltins\neval\nS'1'\n.", id="inst"),
        pytest.param(b"(cbuiltins\neval\nS'1'\no.", id="obj"),
        pytest.param(b"\x80\x02cbuiltins\neval\n(S'1'\nt\x81.", id="newobj"),
        pytest.param(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", id="stack global"),
        pytest.param(b"\x80\x04cbuiltins\neval\n(S'1'\nt}\x92.", id="newobj with keywords"),
        pytest.param(b"\x80\x02}K\x01\x85R.", id="a thing that is no name"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension registry"),
        pytest.param(b"\x80\x02cbuiltins\neval\n}b.", id="state of a function"),
    ],
)
def test_every_way_to_call_is_refused(code) -> None:
    list(pickletools.genops(code))  # well-formed
    with pytest.raises(CheckpointError):
        load(code, nothing)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"\x80\x02}(%bK\x01u.", id="key"),
        pytest.param(b"\x80\x02(%bK\x01d.", id="key of an old dictionary"),
        pytest.param(b"\x80\x04\x8f(%b\x90.", id="member"),
        pytest.param(b"\x80\x04(%b\x91.", id="member of a frozen set"),
        pytest.param(b"\x80\x04%b\x8c\x01x\x93)R.", id="name"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\n](%bK\x01\x86e\x85R.", id="ordered dictionary"),
    ],
)
def test_nothing_nested_is_hashed(code) -> None:
    """Python hashes a nested tuple recursively in C: one nested deep enough ends the process."""
    nested = b")" + b"\x85" * 100_000
    with pytest.raises(CheckpointError, match=r"as a key|no text"):
        load(code.replace(b"%b", nested), nothing)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=60), at=st.integers(0, 200))
def test_damage_is_one_error(data, at) -> None:
    whole = pickle.dumps({"a": [1, 2.0, ("x", None)], "b": OrderedDict(c=3)}, 2)
    for broken in (
        data,
        whole[: at % len(whole)],
        whole[: at % len(whole)] + data + whole[at % len(whole) :],
    ):
        try:
            load(broken, nothing)
        except CheckpointError:
            continue
