"""How many CPUs this process may really use: the container's quota, not the machine's core count.

Starting one thread per core of a large machine inside a container that is granted two makes everything
slower: the kernel lets all of them run and then freezes all of them until the next period.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class _Mount:
    """One mounted cgroup hierarchy: `group` (a cgroup's name) is what stands at `point` (a folder)."""

    version: int
    group: PurePosixPath
    point: PurePosixPath


def available_cpus(root: Path = Path("/")) -> float:
    """CPUs that this process is granted, by affinity and by cgroup quota (v1 and v2): 1.5 is possible.

    `root` is where `proc` and the cgroup mounts are looked up; tests give a folder of their own.
    """
    return min([float(_affinity()), *_quotas(root)])


def usable_threads(root: Path = Path("/")) -> int:
    """Threads that can run without being throttled: `available_cpus` rounded down, at least one."""
    return max(1, int(available_cpus(root)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Every limit that applies, in CPUs: that of our cgroup and those of all cgroups around it."""
    own = _own_groups(_lines(root / "proc/self/cgroup"))
    for mount in _mounts(_lines(root / "proc/self/mountinfo")):
        if mount.version not in own:
            continue
        top = root / mount.point.relative_to("/")
        group = own[mount.version]
        # Inside a container the name may be the host's, which the mount does not show: then its top is ours.
        below = group.relative_to(mount.group) if group.is_relative_to(mount.group) else PurePosixPath()
        for part in (below, *below.parents):
            quota = _quota_v2(top / part) if mount.version == 2 else _quota_v1(top / part)
            if quota is not None:
                yield quota


def _own_groups(lines: list[str]) -> dict[int, PurePosixPath]:
    """Our cgroup in the v2 hierarchy and in v1's `cpu` hierarchy, from lines `id:controllers:name`."""
    groups = {}
    for line in lines:
        number, controllers, name = line.split(":", 2)
        if number == "0":
            groups[2] = PurePosixPath(name)
        elif "cpu" in controllers.split(","):
            groups[1] = PurePosixPath(name)
    return groups


def _mounts(lines: list[str]) -> Iterator[_Mount]:
    """Cgroup mounts that can carry a CPU quota, from proc(5)'s mountinfo.

    A line reads `id parent device ROOT POINT options … - TYPE source SUPEROPTIONS`.
    """
    for line in lines:
        before, _, after = line.partition(" - ")
        group, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            yield _Mount(2, PurePosixPath(group), PurePosixPath(point))
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield _Mount(1, PurePosixPath(group), PurePosixPath(point))


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` holds `QUOTA PERIOD` in microseconds, QUOTA being `max` when there is no limit."""
    match " ".join(_lines(folder / "cpu.max")).split():
        case [quota, period] if quota != "max":
            return int(quota) / int(period)
    return None


def _quota_v1(folder: Path) -> float | None:
    """Microseconds in two files; a quota of -1 is no limit."""
    match _lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us"):
        case [quota], [period] if int(quota) > 0:
            return int(quota) / int(period)
    return None


def _lines(path: Path) -> list[str]:
    """Lines of a file of the kernel; none where it does not exist or may not be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
