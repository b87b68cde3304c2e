"""What is measured of the base install: sizes of a made-up package, and that processes do what they say."""

import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earkit.benchmarks import footprint as module
from earkit.benchmarks.footprint import _command, _installed, footprint, run_once, sizes, write_clip

PYTHON = Path(sys.executable)


def test_sizes_are_those_of_the_files_of_each_package(tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=False, symlinks=True)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    write_package(packages, "owl", {"owl/__init__.py": 10, "owl/weights.bin": 5000, "owl/__init__.pyc": 300})
    write_package(packages, "pip", {"pip.py": 70})
    (packages / "stray.py").write_bytes(bytes(999))
    (metadata,) = (path.stat().st_size for path in packages.glob("owl-*/METADATA"))
    (record,) = (path.stat().st_size for path in packages.glob("owl-*/RECORD"))
    assert sizes(tmp_path / "bin" / "python") == {"owl": ("1.5", 5010 + metadata + record)}


def write_package(packages: Path, name: str, files: dict[str, int]) -> None:
    about = packages / f"{name}-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    for file, size in files.items():
        (packages / file).parent.mkdir(exist_ok=True)
        (packages / file).write_bytes(bytes(size))
    listed = [*files, f"{about.name}/METADATA", f"{about.name}/RECORD", "gone.py"]
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in listed))


def test_the_clip_is_a_second_of_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.wav")
    samples, rate = soundfile.read(tmp_path / "clip.wav")
    t = np.arange(16_000)
    assert rate == 16_000
    np.testing.assert_allclose(samples, 8000 / 32_768 * np.sin(0.2 * t) * np.sin(0.0007 * t), atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of memory so")
def test_processes_say_what_they_took(clip_model: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    write_clip(clip)
    took = {
        what: run_once(_command(what, PYTHON, clip_model, clip, 1), tmp_path)
        for what in ("python", "import earkit.runtime", "first embedding", "onnxruntime alone", "kit embed")
    }
    assert took["import earkit.runtime"]["seconds"] < took["first embedding"]["seconds"]
    assert 20 < took["onnxruntime alone"]["megabytes"] < took["first embedding"]["megabytes"] + 5
    assert took["first embedding"]["megabytes"] < 150  # what issue 5 allows the int8 `tiny`
    assert "megabytes" not in took["python"]


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "what": what,
            "milliseconds": 10.0 + i,
            "least": 9.0,
            "greatest": 30.0,
            "megabytes": 72.4 if i == 4 else None,
        }
        for i, what in enumerate([*module._PROGRAMS, "kit embed"])
    ]
    stored: dict[str, Any] = {
        "command": "python -m earkit.benchmarks.footprint MODEL",
        "machine": {"cores": 2, "processor": "a box", "packages": {"torch": "2"}},
        "settings": {
            "model": "tiny.onnx",
            "megabytes": 3.14,
            "runs": 7,
            "threads": 2,
            "packages": {
                "small": ["1", 300_000],
                "numpy": ["2", 57_400_000],
                "onnxruntime": ["1", 64_500_000],
            },
        },
        "rows": rows,
    }
    monkeypatch.setattr(module, "load", lambda _: stored)
    text = footprint()
    assert "| installed | 122 MB: onnxruntime 64.5, numpy 57.4, 1 others 0.3 |" in text
    assert "| cold start to the embedding of a clip of 1 s | 14 ms (9 to 30), 72 MB |" in text
    assert "`tiny.onnx`, 3.1 MB, on 2 threads" in text
    assert _installed(stored["settings"]["packages"]).startswith("122 MB")
