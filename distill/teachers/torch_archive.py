"""Reading tensors out of a file that `torch.save` wrote, without unpickling it.

Since torch 1.6 such a file is a zip: `<name>/data.pkl`, a pickle in which each tensor only refers to its
storage, and `<name>/data/<key>`, the raw bytes of each storage. The pickle is read by `inert_pickle`,
and a storage only when one of its tensors is asked for, so that optimizer state costs nothing.
"""

import math
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeGuard

import torch
from torch import Tensor

from earkit.distill.teachers import inert_pickle
from earkit.distill.teachers.inert_pickle import Global, Inert, Persistent
from earkit.runtime.errors import CheckpointError

# Far above any model's: the released DinoSR checkpoint has under one megabyte.
PICKLE_LIMIT = 64 * 2**20
# How a file begins that torch before 1.6 saved: a pickle of this number.
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
ZIP_MAGIC = b"PK\x03\x04"

_REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Global("torch._utils", "_rebuild_parameter")
_DTYPES = {
    Global("torch", "FloatStorage"): torch.float32,
    Global("torch", "DoubleStorage"): torch.float64,
    Global("torch", "HalfStorage"): torch.float16,
    Global("torch", "BFloat16Storage"): torch.bfloat16,
    Global("torch", "LongStorage"): torch.int64,
    Global("torch", "IntStorage"): torch.int32,
}
# Plain values and types that pickles make by a call: type(None), or operator.getitem(Optional, int).
_PLAIN = {
    Global(module, name)
    for modules, names in {
        ("builtins", "__builtin__"): (
            "set",
            "frozenset",
            "list",
            "dict",
            "tuple",
            "bytearray",
            "complex",
            "type",
        ),
        ("numpy",): ("dtype", "ndarray"),
        ("numpy.core.multiarray", "numpy._core.multiarray"): ("scalar", "_reconstruct"),
        ("torch",): ("device", "Size"),
        ("operator", "_operator"): ("getitem",),
        ("_codecs",): ("encode",),
    }.items()
    for module in modules
    for name in names
}
# Configuration objects of the frameworks that write checkpoints; their code is neither needed nor run.
_PACKAGES = ("omegaconf.", "fairseq.", "argparse.", "pathlib.")


def _known(name: Global) -> bool:
    return name in _PLAIN or name in {_REBUILD, _PARAMETER} or f"{name.module}.".startswith(_PACKAGES)


class TorchArchive:
    """An open checkpoint. `content` is its pickle, inert; `tensor` reads one of the tensors in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise CheckpointError(f"{path} {_why_no_zip(path)}") from error
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            self._prefix = self._find_prefix()
            self._check_byte_order()
            self.content = self._unpickle()
        except CheckpointError:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()

    def tensor(self, node: object, name: str) -> Tensor:
        """Read the tensor that `node` of `content` stands for; `name` is for the error alone."""
        match node:
            case Inert(made_by=made_by, args=(Inert() as data, *_)) if (
                made_by == _PARAMETER and data.made_by == _REBUILD
            ):
                return self.tensor(data, name)
            case Inert(
                made_by=made_by,
                args=(
                    Persistent(("storage", Global() as storage, str(key), _, int(length))),
                    int(offset),
                    size,
                    stride,
                    *_,
                ),
            ) if made_by == _REBUILD and storage in _DTYPES:
                flat = self._storage(key, _DTYPES[storage], length, name)
                return self._view(flat, offset, size, stride, name)
        raise self._error(f"holds something else than a tensor as {name}")

    def _storage(self, key: str, dtype: torch.dtype, length: int, name: str) -> Tensor:
        wanted = length * dtype.itemsize
        data = self._read(f"data/{key}", limit=wanted)
        if len(data) != wanted or not data:
            raise self._error(f"holds {len(data)} bytes for {name} where {wanted} are declared")
        return torch.frombuffer(bytearray(data), dtype=dtype)

    def _view(self, flat: Tensor, offset: int, size: object, stride: object, name: str) -> Tensor:
        if not _natural(size) or not _natural(stride) or len(size) != len(stride) or offset < 0 or 0 in size:
            raise self._error(f"declares an impossible shape for {name}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if last >= flat.numel() or math.prod(size) > flat.numel():
            raise self._error(f"declares {name} larger than what is stored for it")
        return flat.as_strided(size, stride, offset).clone()

    def _find_prefix(self) -> str:
        pickles = [n for n in self._zip.namelist() if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(pickles) != 1:
            raise self._error("is a zip file but not one that torch saved")
        return pickles[0].removesuffix("data.pkl")

    def _check_byte_order(self) -> None:
        declared = f"{self._prefix}byteorder" in self._zip.namelist()  # older torch does not say
        if declared and self._read("byteorder", limit=16) != b"little":
            raise self._error("was saved on a big-endian machine, whose byte order is not read here")

    def _unpickle(self) -> Any:  # noqa: ANN401 - a pickle holds anything
        data = self._read("data.pkl", limit=PICKLE_LIMIT)
        try:
            return inert_pickle.load(data, _known)
        except CheckpointError as error:
            raise self._error(f"is refused: {error}") from error

    def _read(self, name: str, limit: int) -> bytes:
        try:
            entry = self._zip.getinfo(self._prefix + name)
        except KeyError as error:
            raise self._error(f"lacks its part {name}") from error
        # torch stores without compression: a declared size can be no larger than the file itself.
        stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
        if not stored or entry.file_size > min(limit, self.path.stat().st_size):
            raise self._error(f"declares an impossible size for its part {name}")
        try:
            return self._zip.read(entry)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise self._error(f"is damaged in its part {name} ({error}); fetch it again") from error

    def _error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path} {what}")


def _natural(values: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(values, tuple) and all(type(n) is int and n >= 0 for n in values)


def _why_no_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if LEGACY_MAGIC in start:
        return (
            "was saved by torch before 1.6, whose format is not read here; where you trust it, load it with "
            "newer torch and save it again"
        )
    if start.startswith(ZIP_MAGIC):
        return "is cut short or damaged: the directory at its end cannot be read; fetch it again"
    return "is no torch checkpoint"
