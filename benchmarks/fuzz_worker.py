"""The process in which damaged files are tried; `fuzz` starts it and talks to it over pipes.

    python -m earkit.benchmarks.fuzz_worker audio MODEL
    python -m earkit.benchmarks.fuzz_worker models

A line in is a JSON object with `file`; the line out says what came of it, what was said, and by how many MB
the process has grown at its peak.
"""

import io
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from earkit.benchmarks.hearing import peak_megabytes
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import AudioError, CheckpointError, EarkitError
from earkit.runtime.model_file import OUTPUTS, read_model_file
from earkit.runtime.outputs import Output
from earkit.runtime.streaming_model import StreamingModel

ADDRESSES = 12 << 30
"""Bytes of address space: what asks for more is refused by most machines, and must not take this one down."""
LONGEST_SENTENCE = 600

Try = Callable[[Path, dict[str, Any]], None]


def try_audio(model: Path) -> Try:
    """Embed a file, handed over by its path, as bytes or as an open file."""
    embedder = Embedder.load(model, threads=1)

    def embed(file: Path, how: dict[str, Any]) -> None:
        match how["way"]:
            case "path":
                vector = embedder.embed(file)
            case "bytes":
                vector = embedder.embed(file.read_bytes())
            case _:
                vector = embedder.embed(io.BytesIO(file.read_bytes()))
        if vector.shape != (embedder.dim,) or abs(float(np.linalg.norm(vector)) - 1) > 1e-3:
            raise AssertionError(f"its embedding is {vector}")

    return embed


def try_model(file: Path, how: dict[str, Any]) -> None:
    """Open a model file, and have it do all that it can."""
    del how
    info = read_model_file(file)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLE_RATE).astype(np.float32)
    if info.stream:
        stream = StreamingModel.load(file).stream()
        stream.push(noise)
        stream.flush()
        return
    embedder = Embedder.load(file, threads=1)
    for output in get_args(Output):
        if set(OUTPUTS[output]) <= set(info.outputs):
            given = embedder.embed([noise, noise[:9000], noise[:1]], SAMPLE_RATE, output=output)
            if len(given if isinstance(given, list | np.ndarray) else given.values) != 3:
                raise AssertionError(f"three sounds gave {given}")


def outcome(attempt: Try, file: Path, how: dict[str, Any], allowed: type[EarkitError]) -> tuple[str, str]:
    """Try a file. Gives "result", "sentence" or "wrong", and what was said."""
    try:
        attempt(file, how)
    except allowed as error:
        said = str(error)
        clear = len(said) <= LONGEST_SENTENCE and "\n" not in said and said.isprintable()
        return ("sentence" if clear else "wrong"), said
    except Exception as error:  # noqa: BLE001 - to find out whatever else comes is what this is for
        return "wrong", f"{type(error).__name__}: {error}"
    return "result", ""


def main() -> None:
    """Answer line by line until there are no more."""
    kind, *rest = sys.argv[1:]
    attempt, allowed = (
        (try_audio(Path(rest[0])), AudioError) if kind == "audio" else (try_model, CheckpointError)
    )
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not get between the answers
    print("ready", file=answers, flush=True)
    before = peak_megabytes()
    for line in sys.stdin:
        how = json.loads(line)
        said = outcome(attempt, Path(how.pop("file")), how, allowed)
        print(json.dumps([*said, peak_megabytes() - before]), file=answers, flush=True)


if __name__ == "__main__":
    main()
