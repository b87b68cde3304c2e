"""Rules of the house: who may import whom, what the wheel holds, how light the command line starts."""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]

# A floor may import from floors below its own, and from itself; not from its neighbours.
FLOORS = {"runtime": 0, "distill": 1, "compress": 2, "export": 2, "benchmarks": 3, "cli": 4}
# usearch is an extra: runtime/search/graph.py alone needs it, and is imported where a graph is asked for.
RUNTIME_MAY_IMPORT = {"numpy", "soundfile", "soxr", "onnxruntime", "usearch", *sys.stdlib_module_names}


def imported(source: str, package: str) -> Iterator[str]:
    """Modules that a file of `package` imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def trespasses(source: str, package: str) -> list[str]:
    """Imports that the layering forbids to a file of `package`, such as `earkit.distill.teachers`."""
    floor = package.split(".")[1]
    found = []
    for module in imported(source, package):
        top, *below = module.split(".")
        if top == "earkit":
            target = below[0] if below else ""
            if target != floor and FLOORS.get(target, 99) >= FLOORS[floor]:
                found.append(module)
        elif top in FLOORS or (floor == "runtime" and top not in RUNTIME_MAY_IMPORT):
            found.append(module)
    return found


def sources() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def package_of(path: Path) -> str:
    return ".".join(["earkit", *path.relative_to(ROOT).parent.parts])


def test_imports_run_downwards() -> None:
    found = {
        str(path.relative_to(ROOT)): bad
        for path in sources()
        if (bad := trespasses(path.read_text(encoding="utf-8"), package_of(path)))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("earkit.runtime", "import torch"),
        ("earkit.runtime", "def f():\n    from transformers import AutoModel"),
        ("earkit.runtime", "from earkit.distill.dinosr import DinoSR"),
        ("earkit.runtime", "from earkit import distill"),
        ("earkit.runtime", "from ..distill import dinosr"),
        ("earkit.distill.teachers", "import earkit.cli.main"),
        ("earkit.distill.teachers", "from ...export import graph"),
        ("earkit.export", "from earkit.compress.prune import prune"),
        ("earkit.compress", "from earkit.benchmarks import probe"),
        ("earkit.cli", "from runtime.errors import EarkitError"),
    ],
)
def test_a_trespass_is_seen(package: str, source: str) -> None:
    assert trespasses(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        (
            "earkit.runtime",
            "import os.path, numpy as np, soundfile\nfrom earkit.runtime.errors import AudioError",
        ),
        (
            "earkit.distill.teachers",
            "import torch\nfrom earkit.distill.dinosr import DinoSR\nfrom .. import dinosr",
        ),
        ("earkit.cli", "from earkit.benchmarks import probe\nfrom earkit.runtime import cache"),
    ],
)
def test_what_is_allowed_is_no_trespass(package: str, source: str) -> None:
    assert trespasses(source, package) == []


def test_the_packages_are_the_folders_that_hold_an_init() -> None:
    folders = {path.parent for path in sources() if path.name == "__init__.py"}
    expected = {package_of(folder / "__init__.py"): str(folder.relative_to(ROOT)) for folder in folders}
    assert dict(SETUPTOOLS["package-dir"]) == expected
    assert sorted(SETUPTOOLS["packages"]) == sorted(expected)


def test_every_source_is_in_a_package() -> None:
    # A folder without __init__.py would be missing from the wheel and from the check above.
    assert [path for path in sources() if not (path.parent / "__init__.py").is_file()] == []


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel built from it, from a copy that holds no stale build."""
    copy = tmp_path_factory.mktemp("built") / "copy"
    left_behind = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "tests")
    shutil.copytree(ROOT, copy, ignore=left_behind)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(copy.parent), str(copy)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    return copy.parent


def test_the_wheel_holds_every_source_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    info = {name for name in names if re.match(r"earkit-[^/]+\.dist-info/", name)}
    expected = {f"earkit/{path.relative_to(ROOT)}" for path in sources()}
    expected |= {
        f"earkit/{path.relative_to(ROOT)}"
        for floor in FLOORS
        for pattern in ("py.typed", "*.toml", "models/*")
        for path in (ROOT / floor).rglob(pattern)
    }
    assert names - info == expected
    assert {f"earkit/{floor}/py.typed" for floor in FLOORS} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in info)


def test_the_sdist_brings_the_licence(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.getnames())


def test_help_imports_only_what_is_light() -> None:
    script = (
        "import sys; from earkit.cli.main import main; sys.argv = ['kit', '--help']\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Usage: " in ended.stdout
    tops = {module.partition(".")[0] for module in ended.stderr.split()}
    assert "typer" in tops  # the list is really there
    assert tops & {"torch", "transformers", "onnxruntime", "numpy", "soundfile", "scipy", "sklearn"} == set()


# Folders that exist on one person's machine or in one container, and nowhere else.
MACHINE_PATH = re.compile(r"""(?<![\w./~>}-])/(?:home|root|Users|work|workspace|mnt|opt)/\w|[A-Z]:\\Users""")


def texts() -> Iterator[Path]:
    kinds = {".py", ".toml", ".md", ".txt", ".json", ".tsv", ".csv", ""}
    for place in [*FLOORS, "tests", "docs", ".ci"]:
        yield from (path for path in (ROOT / place).rglob("*") if path.is_file() and path.suffix in kinds)
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in kinds)


def test_no_file_names_a_place_of_one_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}": line.strip()[:200]
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    }
    assert found == {}


@pytest.mark.parametrize("first", ["home", "root", "Users", "work", "opt"])
def test_a_place_of_one_machine_is_seen(first: str) -> None:
    assert MACHINE_PATH.search(f'open("/{first}/someone/file.wav")')
    assert not MACHINE_PATH.search(f"see docs/{first}/page and https://host.example/{first}/page")
