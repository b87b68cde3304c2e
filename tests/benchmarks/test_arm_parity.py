"""How two machines are compared, and the emulated one is fetched and started; `make test-arm` runs it."""

import platform
import re
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.aarch64 import PROCESSORS, QEMU, Aarch64, cpuinfo, find_aarch64
from earkit.benchmarks.arm_outputs import outputs
from earkit.benchmarks.arm_parity import Parity, compare, over_budget
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import DataError, EarkitError

WANTED = {
    "embedding.alone.0": np.array([1.0, 0.0]),
    "embedding.alone.1": np.array([0.0, 1.0]),
    "embedding.together.0": np.array([1.0, 0.0]),
    "frames.alone.0": np.zeros((3, 2)),
    "tokens.alone.0": np.array([4, 5, 6]),
    "tokens.together.0": np.array([7]),
}
PLAN = """Reading package lists...
Inst libc6 (2.36 Debian:12 [amd64])
Inst libc6:arm64 (2.36 Debian:12 [arm64])
Inst python3:arm64 [3.10] (3.11 Debian:12 [arm64])
Conf zlib1g:arm64 (1.2 Debian:12 [arm64])"""


def test_the_same_is_no_difference():
    assert compare(WANTED, WANTED) == Parity(0.0, 0.0, 1.0, 1.0)


def test_the_worst_counts():
    made = {
        **WANTED,
        "embedding.together.0": np.array([0.8, 0.6]),  # turned: cosine 0.8
        "frames.alone.0": np.array([[0.0, 0.0], [0.0, -0.25], [0.125, 0.0]]),
        "tokens.alone.0": np.array([4, 0, 6]),
    }
    parity = compare(WANTED, made)
    assert parity.difference == pytest.approx(0.6)
    assert parity.difference_frames == 0.25
    assert parity.cosine == pytest.approx(0.8)
    assert parity.tokens == pytest.approx(3 / 4)


def test_what_is_not_there_is_refused():
    with pytest.raises(
        EarkitError, match=r"frames.alone.0 has another shape on ARM \(\(2, 2\), here \(3, 2\)\)"
    ):
        compare(WANTED, {**WANTED, "frames.alone.0": np.zeros((2, 2))})
    short = {name: array for name, array in WANTED.items() if name != "tokens.together.0"}
    with pytest.raises(EarkitError, match=r"tokens\.together\.0 has another shape on ARM"):
        compare(WANTED, short)


@pytest.mark.parametrize(
    ("parity", "precision", "fault"),
    [
        (Parity(9e-5, 9e-5, 0.9991, 0.995), "float32", None),
        (Parity(2e-4, 0.0, 1.0, 1.0), "float32", "off by 2.0e-04 from x86, 0.0001 is allowed"),
        (Parity(0.0, 2e-4, 1.0, 1.0), "float32", "off by 2.0e-04"),
        (Parity(np.nan, 0.0, np.nan, 1.0), "float32", "off by nan"),
        (Parity(0.0, 0.0, 1.0, 0.98), "float32", "only 98.0% of the tokens are those of x86, 99% are wanted"),
        (Parity(1e-2, 0.5, 0.9991, 0.91), "int8", None),
        (Parity(1e-2, 0.5, 0.9989, 1.0), "int8", "a cosine to x86 is 0.998900, 0.999 is allowed"),
        (Parity(0.0, 0.0, 1.0, 0.89), "int8", "only 89.0% of the tokens"),
    ],
)
def test_the_budget(parity, precision, fault):
    said = over_budget(parity, precision)
    assert (said is None) if fault is None else said.startswith(fault)


def test_outputs_are_the_embedders(clip_model):
    embedder = Embedder.load(clip_model, threads=1)
    clips = [np.linspace(0, 0.5, n, dtype=np.float32) for n in (4000, 7000, 16_001)]
    made = outputs(embedder, clips)
    places = {"alone": {0, 1, 2}, "together": {0, 1}}  # the last is longer than a second
    assert set(made) == {
        f"{output}.{how}.{i}"
        for output in ("embedding", "frames", "tokens")
        for how, some in places.items()
        for i in some
    }
    assert (made["tokens.alone.2"] == embedder.embed(clips[2], 16_000, output="tokens")).all()
    assert made["frames.together.1"].shape == made["frames.alone.1"].shape == (44, 4)


def test_only_one_processor_has_dot_products():
    assert {name for name in PROCESSORS if "asimddp" in cpuinfo(name).split()} == {"cortex-a76"}
    assert "CPU part\t: 0xd03\n" in cpuinfo("cortex-a53")


def stand_in(program: Path, script: str) -> Path:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/x86")
    root, packages = tmp_path / "root", tmp_path / "packages"
    script = (
        'echo "$@"; echo "$PYTHONPATH"; echo "x$LD_LIBRARY_PATH"; cat "$4/proc/cpuinfo" | grep part\n'
        'cat "$4/sys/devices/system/cpu/present"; readlink "$4/usr"; ls "${PYTHONPATH%%:*}/earkit"'
    )
    arm = Aarch64(stand_in(tmp_path / QEMU, script), root, packages)
    line, path, libraries, part, present, usr, *earkit = arm.run("a.b", ["c"], "cortex-a76").splitlines()
    assert re.fullmatch(rf"-cpu cortex-a76 -L \S+ {root}/usr/bin/python3 -m a.b c", line)
    assert path.endswith(f":{packages}")
    assert libraries == "x"
    assert (part, present, usr) == ("CPU part\t: 0xd0b", "0", str(root / "usr"))
    assert earkit == ["benchmarks", "runtime"]


def test_a_crash_is_told(tmp_path):
    qemu = stand_in(tmp_path / QEMU, "echo Traceback >&2; echo 'uncaught target signal 11' >&2; exit 139")
    arm = Aarch64(qemu, tmp_path / "aarch64/debian/root", tmp_path)
    with pytest.raises(
        EarkitError, match=r"a\.b ended with 139 on an emulated cortex-a53 .uncaught target signal 11"
    ):
        arm.run("a.b", [], "cortex-a53")


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """No apt, an empty cache; gives where programs are looked for."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "bin"


def test_it_is_fetched_once(bare, tmp_path, monkeypatch):
    said = tmp_path / "said"
    (tmp_path / "plan").write_text(PLAN, encoding="utf-8")
    downloaded = f'case "$*" in *--simulate*) cat {tmp_path}/plan;; *" download "*) touch a.deb;; esac'
    stand_in(bare / "apt-get", f'echo "$@" >> {said}\n{downloaded}')
    unpack = (
        f'mkdir -p "$3/usr/bin"; touch "$3/usr/bin/{QEMU}" "$3/usr/bin/python3.11"\n'
        'ln -sf python3.11 "$3/usr/bin/python3"'
    )
    stand_in(bare / "dpkg", unpack)
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as wheel:
        wheel.writestr("one/module.py", "")
    pip = stand_in(bare / "python", f'echo "$@" >> {said}; cp {tmp_path}/one.whl .')
    monkeypatch.setattr("sys.executable", str(pip))
    found = find_aarch64()
    assert found.qemu.is_file()
    assert (found.root / "usr/bin/python3").is_file()
    assert (found.packages / "one/module.py").is_file()
    update, plan, download, emulator, wheels = said.read_text(encoding="utf-8").splitlines()
    assert update.endswith(" update")
    assert "--simulate" in plan
    assert download.endswith(" download libc6:arm64 python3:arm64")
    assert emulator.endswith(" download qemu-user-static:amd64")
    # Nothing of the system's is written or asked: lists, archives and what is installed are our own.
    for line in (update, plan, download, emulator):
        places = re.findall(r"Dir::\S+=(\S+)", line)
        assert len(places) == 3
        assert all(Path(place).is_relative_to(tmp_path / "cache") for place in places)
    assert "--only-binary=:all: --python-version=3.11 --platform=manylinux" in wheels
    assert f" onnxruntime=={version('onnxruntime')} " in wheels
    assert find_aarch64() == found
    assert len(said.read_text(encoding="utf-8").splitlines()) == 5


def test_a_fetch_that_fails_leaves_nothing(bare, tmp_path):
    stand_in(bare / "apt-get", "echo W: old >&2; echo E: Unable to locate package >&2; exit 100")
    stand_in(bare / "dpkg", "")
    with pytest.raises(
        DataError, match=r"cannot be fetched \(E: Unable to locate package\): check the network"
    ):
        find_aarch64()
    assert list((tmp_path / "cache/aarch64").iterdir()) == []


def test_what_is_missing_is_said(bare, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="there is no apt-get to fetch"):
        find_aarch64()
    (tmp_path / "cache/aarch64/debian").mkdir(parents=True)
    with pytest.raises(DataError, match="is not complete: remove it, so that it is fetched again"):
        find_aarch64()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(DataError, match="this is Linux on aarch64: ARM is emulated beside x86_64"):
        find_aarch64()
