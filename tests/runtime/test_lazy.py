"""`import earkit.runtime` gives the names people use, and does no work."""

import subprocess
import sys

import pytest

import earkit.runtime


def test_the_package_imports_nothing_heavy() -> None:
    script = "import earkit.runtime, sys; print(*sys.modules)"
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    tops = {module.partition(".")[0] for module in made.stdout.split()}
    assert "earkit" in tops
    assert tops & {"numpy", "onnxruntime", "soundfile", "soxr", "torch"} == set()


def test_every_name_is_there() -> None:
    assert set(earkit.runtime._HOME) == set(earkit.runtime.__all__)
    for name in earkit.runtime.__all__:
        assert getattr(earkit.runtime, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Embeder'"):
        earkit.runtime.Embeder  # noqa: B018 - looking is the test


def test_embedding_needs_no_torch_and_no_onnx() -> None:
    script = "import earkit.runtime.corpus_run, earkit.runtime.sound_files, sys; print(*sys.modules)"
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    tops = {module.partition(".")[0] for module in made.stdout.split()}
    assert tops & {"torch", "onnx", "transformers"} == set()
