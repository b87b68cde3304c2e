"""Graphs small enough to be known in closed form: a step graph, for what runs streams, and one of clips.

And for all tests, less waiting where graphs are timed.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from earkit.runtime import paired_latency
from earkit.runtime.model_file import KEY, ModelInfo, Sparse, Stream, Tokens

DATA = Path(__file__).parent / "data"
STEP_INFO = ModelInfo(
    schema=1,
    name="energies",
    outputs=("frames", "frame_lengths", "tokens", "frame_start"),
    dim=4,
    frame_dim=4,
    sample_rate=16_000,
    hop=160,
    lookahead=320,
    context=160,
    tokens=Tokens(codebook=0, codebooks=1, size=4),
    stream=Stream(delay=2, states={"heard": (0, 2), "past": (0, 3)}),
)


@pytest.fixture(scope="session", autouse=True)
def no_rest_before_timing() -> Iterator[None]:
    """No test reads the times of graphs that ran in turns, so they need not come to rest first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired_latency, "SETTLE", 0.0)
        yield


def write(path: Path, text: Path, info: ModelInfo, changes: dict[str, Any], graph: tuple[str, str]) -> Path:
    import onnx

    proto = onnx.parser.parse_model(text.read_text(encoding="utf-8").replace(*graph))
    values = {**json.loads(info.to_json()), **changes}
    onnx.helper.set_model_props(proto, {KEY: json.dumps(values)})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)
    return path


def write_step(path: Path, graph: tuple[str, str] = ("", ""), **changes: Any) -> Path:
    return write(path, DATA / "step_graph.txt", STEP_INFO, changes, graph)


@pytest.fixture(scope="session")
def write_step_graph() -> Callable[..., Path]:
    """Write a step graph of frames of 10 ms, at 16 kHz, that come 2 frames late.

    A frame holds the energies of the frame before, its own and the next two; its token is the place of the
    largest. graph: a piece of its text and another for it. changes: to its description.
    """
    return write_step


@pytest.fixture(scope="session")
def step_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, written once for all tests, in a run folder."""
    return write_step(tmp_path_factory.mktemp("runs") / "energies" / "energies-stream.onnx")


CLIP_INFO = ModelInfo(
    schema=1,
    name="loudness",
    outputs=(
        *("embedding", "frames", "frame_lengths", "tokens"),
        *("sparse_indices", "sparse_values", "scores"),
    ),
    dim=4,
    frame_dim=4,
    sample_rate=16_000,
    hop=160,
    lookahead=320,
    context=160,
    dims=(2, 4),
    tokens=Tokens(codebook=0, codebooks=1, size=4),
    sparse=Sparse(width=4, k=2, k_min=1, k_max=3),
    classes=("quiet", "loud"),
)


def write_clip(path: Path, graph: tuple[str, str] = ("", ""), **changes: Any) -> Path:
    return write(path, DATA / "clip_graph.txt", CLIP_INFO, changes, graph)


@pytest.fixture(scope="session")
def write_clip_graph() -> Callable[..., Path]:
    """Write a model of clips with frames of 10 ms, at 16 kHz.

    A frame holds the energies of the frame before, its own and the next two; its token is the place of the
    largest. All else is made of the mean of a clip's frames. graph: a piece of its text and another for it.
    changes: to its description.
    """
    return write_clip


@pytest.fixture(scope="session")
def clip_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, written once for all tests, in a run folder."""
    return write_clip(tmp_path_factory.mktemp("runs") / "loudness" / "loudness.onnx")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as those of tests only wait for each other on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
