"""An ARM machine to try model files on: QEMU, Debian's Python for arm64, and the wheels of our versions.

All of it is unpacked in the cache and nothing is installed. The wheels have the versions of this environment,
so that only the processor differs.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import earkit.benchmarks
import earkit.runtime
from earkit.benchmarks.debian import Apt, whole
from earkit.runtime.cache import cache_folder
from earkit.runtime.errors import DataError, EarkitError

WHAT, REMEDY = "an emulated ARM machine", "check the network"
QEMU = "qemu-aarch64-static"
LIBRARIES = "libstdc++6:arm64"  # of numpy, onnxruntime and soxr
WHEELS = (
    *("numpy", "onnxruntime", "flatbuffers", "packaging", "protobuf"),
    *("soundfile", "cffi", "typing_extensions", "soxr"),
)
"""What `earkit.runtime` imports, and what that requires."""
PLATFORMS = tuple(f"manylinux_2_{libc}_aarch64" for libc in (17, 26, 27, 28))

_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
PROCESSORS: Mapping[str, tuple[str, str]] = {
    "cortex-a53": ("0xd03", _BASE),
    "cortex-a76": ("0xd0b", f"{_BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
}
"""QEMU's name -> part number and instruction sets. The first has no 8-bit dot product (`asimddp`)."""


@dataclass(frozen=True)
class Aarch64:
    """A machine that can be run. root: Debian's files; packages: where the wheels are unpacked."""

    qemu: Path
    root: Path
    packages: Path

    def run(self, module: str, arguments: Sequence[str], processor: str) -> str:
        """Run a module of earkit's runtime or benchmarks, and give what it prints."""
        with tempfile.TemporaryDirectory() as name:
            system, path = Path(name) / "system", Path(name) / "path"
            self._link(system, path, processor)
            emulator = [str(self.qemu), "-cpu", processor, "-L", str(system)]
            python = [str(self.root / "usr/bin/python3"), "-m", module]
            environment = {  # nothing of ours: its libraries and packages are another machine's
                "PYTHONPATH": f"{path}:{self.packages}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "LC_ALL": "C.UTF-8",
            }
            done = _run([*emulator, *python, *arguments], Path(name), environment)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise EarkitError(
                f"{module} ended with {done.returncode} on an emulated {processor} "
                f"({said[-1] if said else 'it said nothing'}): remove {self.root.parent.parent} to fetch the "
                f"machine again, and report it if that does not help"
            )
        return done.stdout

    def _link(self, system: Path, path: Path, processor: str) -> None:
        """Lay out what QEMU shows in place of our files, and what Python finds earkit by."""
        for place in (system / "proc", system / "sys/devices/system/cpu", path / "earkit"):
            place.mkdir(parents=True)
        for folder in ("lib", "usr"):
            (system / folder).symlink_to(self.root / folder)
        # QEMU shows the processor of the host here, at which onnxruntime crashes.
        (system / "proc/cpuinfo").write_text(cpuinfo(processor), encoding="utf-8")
        for name in ("possible", "present"):
            (system / "sys/devices/system/cpu" / name).write_text("0\n", encoding="utf-8")
        for package in (earkit.runtime, earkit.benchmarks):
            home = Path(str(package.__file__)).resolve().parent
            (path / "earkit" / package.__name__.removeprefix("earkit.")).symlink_to(home)


def cpuinfo(processor: str) -> str:
    """Write what Linux says of one core of an ARM processor, from which onnxruntime chooses kernels."""
    part, features = PROCESSORS[processor]
    return (
        f"processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 4\n\n"
    )


def find_aarch64() -> Aarch64:
    """Give the machine of the cache, or fetch it there (100 MB)."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise DataError(
            f"this is {platform.system()} on {platform.machine()}: ARM is emulated beside x86_64, on Linux"
        )
    debian = cache_folder() / "aarch64" / "debian"
    if not debian.is_dir():
        with whole(debian) as made:
            _fetch_debian(made)
    python = debian / "root/usr/bin/python3"
    if not python.is_file() or not (debian / QEMU).is_file():
        raise DataError(f"{debian} is not complete: remove it, so that it is fetched again")
    wheels = [f"{name}=={version(name)}" for name in WHEELS]
    number = python.resolve().name.removeprefix("python")
    digest = hashlib.sha256(" ".join([number, *wheels]).encode()).hexdigest()
    packages = cache_folder() / "aarch64" / f"packages-{digest[:12]}"
    if not packages.is_dir():
        with whole(packages) as made:
            _fetch_wheels(made, number, wheels)
    return Aarch64(debian / QEMU, debian / "root", packages)


def _fetch_debian(made: Path) -> None:
    """Unpack the emulator, and Python for arm64 with all that it needs."""
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise DataError(f"there is no {program} to fetch an emulated ARM machine with: use Debian")
    installed, emulator = made.parent / "nothing-installed", made.parent / "emulator"
    installed.touch()
    both = ("APT::Architectures::=amd64", "APT::Architectures::=arm64")
    apt = Apt(made.parent, WHAT, REMEDY, (f"Dir::State::status={installed}", *both))
    needed = apt.needed("python3:arm64", LIBRARIES)
    apt.unpack([name for name in needed if name.endswith(":arm64")], made / "root")
    apt.unpack(["qemu-user-static:amd64"], emulator)
    (emulator / "usr/bin" / QEMU).replace(made / QEMU)  # one of sixty


def _fetch_wheels(made: Path, number: str, wheels: Sequence[str]) -> None:
    """Unpack wheels for ARM and a version of Python; nothing of them is run here."""
    archives = made.parent / "archives"
    archives.mkdir()
    fit = [f"--platform={name}" for name in PLATFORMS]
    only = ["--no-deps", "--only-binary=:all:", f"--python-version={number}", *fit]
    # Constraints are for installing; a relative path to them would lead nowhere from this folder.
    environment = {name: text for name, text in os.environ.items() if "CONSTRAINT" not in name}
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--quiet", *only, *wheels]
    done = _run(command, archives, environment)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise DataError(f"{WHAT} cannot be fetched ({'; '.join(said[:2]) or 'pip failed'}): {REMEDY}")
    for archive in sorted(archives.glob("*.whl")):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(made)


def _run(
    command: list[str], folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - no shell
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
