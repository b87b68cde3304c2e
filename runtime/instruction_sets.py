"""Which instruction sets that int8 and float kernels profit from this processor has."""

import platform
import sys
from pathlib import Path

# Our name -> what /proc/cpuinfo calls it (x86 `flags`, ARM `Features`).
_LINUX = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx_int8": "amx_int8",
    "neon": "asimd",
    "dotprod": "asimddp",
    "i8mm": "i8mm",
    "sve": "sve",
}
# Our name -> the sysctl that is 1 where macOS has it.
_MACOS = {
    "avx2": "hw.optional.avx2_0",
    "avx512f": "hw.optional.avx512f",
    "neon": "hw.optional.neon",
    "dotprod": "hw.optional.arm.FEAT_DotProd",
    "i8mm": "hw.optional.arm.FEAT_I8MM",
}
_X86 = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
_ARM = ("neon", "dotprod", "i8mm", "sve")


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, bool] | None:
    """Tell which of the sets that matter on this architecture are there; None where nothing tells.

    With VNNI (x86) or dotprod (ARM) int8 is several times faster, and sums of 8-bit products do not
    saturate; i8mm and AMX multiply whole int8 matrices.
    """
    names = _ARM if platform.machine().lower() in {"arm64", "aarch64", "armv7l", "armv8l"} else _X86
    if sys.platform == "darwin":
        return {name: _sysctl(_MACOS[name]) for name in names if name in _MACOS}
    if not cpuinfo.is_file():
        return None
    flags = _flags(cpuinfo.read_text(encoding="utf-8", errors="replace"))
    return {name: _LINUX[name] in flags for name in names}


def _flags(cpuinfo: str) -> set[str]:
    """Features that every core listed has (on big.LITTLE chips they may differ)."""
    cores = [
        set(value.split())
        for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())
        if key.strip() in {"flags", "Features"}
    ]
    return set.intersection(*cores) if cores else set()


def _sysctl(name: str) -> bool:
    """Read one integer of macOS's sysctl table; what it does not know is not there."""
    import ctypes.util  # noqa: PLC0415 - it imports much, and `kit` starts with this module

    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    status = libc.sysctlbyname(
        name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return status == 0 and value.value == 1
