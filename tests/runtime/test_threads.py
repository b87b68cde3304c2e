"""CPU quotas, read from imitations of the kernel's files as containers really show them."""

import os
from pathlib import Path

import pytest

from earkit.runtime.threads import available_cpus, usable_threads

V2 = "30 23 0:26 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_CPU = "32 31 0:29 {root} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY = "33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
DISK = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def machine(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
    """Write proc/self/… and `files`, whose names are below sys/fs/cgroup."""
    contents = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo}
    contents |= {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def v2(root: str = "/") -> str:
    return DISK + V2.format(root=root, point="/sys/fs/cgroup")


def v1(root: str = "/") -> str:
    return DISK + V1_MEMORY + V1_CPU.format(root=root, point="/sys/fs/cgroup/cpu")


def test_without_cgroups_it_is_the_affinity(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8


def test_without_affinity_it_is_the_core_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert available_cpus(tmp_path) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus(tmp_path) == 1


def test_v2_in_a_container_with_its_own_namespace(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", v2(), {"cpu.max": "150000 100000\n"})
    assert available_cpus(root) == 1.5
    assert usable_threads(root) == 1


def test_v2_without_a_limit(tmp_path: Path) -> None:
    assert available_cpus(machine(tmp_path, "0::/\n", v2(), {"cpu.max": "max 100000\n"})) == 8


def test_v2_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    limits = {"app.slice/job/cpu.max": "400000 100000", "app.slice/cpu.max": "300000 100000"}
    root = machine(tmp_path, "0::/app.slice/job\n", v2(), limits)
    assert available_cpus(root) == 3
    (root / "sys/fs/cgroup/app.slice/job/cpu.max").write_text("200000 100000")
    assert available_cpus(root) == 2


def test_v1_in_a_container_that_sees_the_hosts_name(tmp_path: Path) -> None:
    # Docker without a cgroup namespace: the mount shows our group as its top.
    root = machine(
        tmp_path,
        "5:cpu,cpuacct:/docker/0123\n4:memory:/docker/0123\n",
        v1(root="/docker/0123"),
        {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"},
    )
    assert available_cpus(root) == 2.5
    assert usable_threads(root) == 2


def test_v1_without_a_limit(tmp_path: Path) -> None:
    limits = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert available_cpus(machine(tmp_path, "1:cpu:/\n0::/\n", v1(), limits)) == 8


def test_a_name_that_the_mount_does_not_show_falls_back_to_its_top(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/../sibling\n", v2(root="/kubepods/pod7"), {"cpu.max": "100000 50000"})
    assert available_cpus(root) == 2


def test_a_quota_above_the_core_count_gives_no_more_cores(tmp_path: Path) -> None:
    assert available_cpus(machine(tmp_path, "0::/\n", v2(), {"cpu.max": "1600000 100000"})) == 8


def test_at_least_one_thread(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", v2(), {"cpu.max": "20000 100000"})
    assert available_cpus(root) == 0.2
    assert usable_threads(root) == 1


def test_this_machine_answers() -> None:
    assert 0 < available_cpus() <= 8
