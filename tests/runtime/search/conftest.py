"""A model that hears spectra, a folder of sounds, and an index of vectors that never were sounds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.runtime.embedder import Embedder
from earkit.runtime.model_file import KEY, ModelInfo, Sparse
from earkit.runtime.outputs import SparseCode
from earkit.runtime.search import store
from earkit.runtime.search.postings import codes
from earkit.runtime.search.rows import Rows, arrays_of
from earkit.runtime.search.vectors import Precision, rounded

DIM, WIDTH, K, KERNEL = 64, 64, 8, 400
INFO = ModelInfo(
    schema=1,
    name="spectra",
    outputs=("embedding", "sparse_indices", "sparse_values"),
    dim=DIM,
    frame_dim=DIM,
    sample_rate=16_000,
    hop=KERNEL,
    lookahead=0,
    context=0,
    dims=(32, DIM),
    sparse=Sparse(width=WIDTH, k=K, k_min=4, k_max=16),
    parent_sha256="ab" * 32,
)


def write_model(path: Path, seed: int = 0, info: ModelInfo = INFO) -> Path:
    """Magnitudes at 64 frequencies, summed over time, turned by an orthogonal matrix; latents before it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    time = np.arange(KERNEL)
    angles = np.outer(np.linspace(100, 4000, DIM) * 2 * np.pi / 16_000, time)
    waves = np.concatenate([np.cos(angles), np.sin(angles)])[:, None].astype(np.float32)
    turned = np.linalg.qr(np.random.default_rng(seed).standard_normal((DIM, DIM)))[0].astype(np.float32)
    constants = {
        "waves": waves,
        "turned": turned,
        "k_max": np.array([16]),
        "time": np.array([-1]),
        "least": np.array(1e-6, np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["audio", "one"], ["channel"]),
        helper.make_node("Conv", ["channel", "waves"], ["parts"], strides=[KERNEL], pads=[0, KERNEL - 1]),
        helper.make_node("Split", ["parts"], ["real", "imaginary"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["real", "real"], ["real2"]),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary2"]),
        helper.make_node("Add", ["real2", "imaginary2"], ["power"]),
        helper.make_node("Sqrt", ["power"], ["magnitude"]),
        helper.make_node("ReduceSum", ["magnitude", "time"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "least"], ["heard"]),
        helper.make_node("LpNormalization", ["heard"], ["spectrum"], axis=1, p=2),
        helper.make_node("MatMul", ["spectrum", "turned"], ["embedding"]),
        helper.make_node("TopK", ["spectrum", "k_max"], ["sparse_values", "sparse_indices"]),
    ]
    constants["one"] = np.array([1])
    puts = [
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM]),
        helper.make_tensor_value_info("sparse_indices", TensorProto.INT64, ["batch", 16]),
        helper.make_tensor_value_info("sparse_values", TensorProto.FLOAT, ["batch", 16]),
    ]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "spectra", puts[:2], puts[2:], held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(proto, {KEY: info.to_json()})
    onnx.save(proto, path)
    return path


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """Give `write_model`."""
    return write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file."""
    return write_model(tmp_path_factory.mktemp("model") / "spectra.onnx")


@pytest.fixture(scope="session")
def embedder(model: Path) -> Embedder:
    """The same, opened."""
    return Embedder.load(model, threads=1)


def chord(seed: int, seconds: float) -> np.ndarray:
    """Some tones that are no one else's."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    tones = [np.sin(2 * np.pi * hertz * time) for hertz in rng.uniform(150, 3800, 5)]
    return (np.mean(tones, axis=0) * 0.5).astype(np.float32)


@pytest.fixture(scope="session")
def make_sound() -> Callable[[int, float], np.ndarray]:
    """Give `chord`."""
    return chord


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Eight files of 0.5 to 4 s, each second of which is another chord; two of them in a folder."""
    folder = tmp_path / "sounds"
    (folder / "far away").mkdir(parents=True)
    for number in range(8):
        place = folder / "far away" if number >= 6 else folder
        parts = [chord(100 * number + second, 1.0) for second in range(4)]
        samples = np.concatenate(parts)[: 8_000 * (number + 1)]
        soundfile.write(place / f"{number}.wav", samples, 16_000)
    return folder


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """3000 vectors in clusters of ten."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((300, DIM))
    return unit(centres.repeat(10, 0) + 0.2 * rng.standard_normal((3000, DIM)))


@pytest.fixture(scope="session")
def make_code() -> Callable[[np.ndarray], SparseCode]:
    """Give the largest values of vectors (n, dim) as a code."""

    def code(x: np.ndarray) -> SparseCode:
        indices = np.argsort(-x, axis=1, kind="stable")[:, :K]
        return SparseCode(indices, np.take_along_axis(x, indices, 1), WIDTH)

    return code


@pytest.fixture(scope="session")
def write_index(
    vectors: np.ndarray, make_code: Callable[[np.ndarray], SparseCode]
) -> Callable[[Path, Precision, bool, bool], None]:
    """Write an index of those vectors: ten files, each with 300 spans of two seconds every second."""

    def write(folder: Path, precision: Precision, with_codes: bool, graph: bool) -> None:
        places = np.array([(16_000 * i, 16_000 * i + 32_000) for i in range(300)])
        rows, files = [], []
        for number in range(10):
            own = vectors[300 * number : 300 * number + 300]
            kept = codes(make_code(own)) if with_codes else None
            rows.append(Rows(places, rounded(own, precision), kept))
            files.append(store.SoundFile(f"{number}.wav", 1, 2, f"{number:064}"))
        latents = (WIDTH, K) if with_codes else (0, 0)
        made_by = store.Model("spectra", "nowhere.onnx", INFO.parent_sha256, "float32", 0, DIM, 32, *latents)
        settings = store.Settings(32_000, 16_000, precision, with_codes, graph)
        head = store.Head(store.VERSION, "", "sounds", made_by, settings, 3000, 0)
        store.write(folder, head, tuple(files), arrays_of(rows, made_by))

    return write


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indices that were written once for all tests."""
    return tmp_path_factory.mktemp("written")


@pytest.fixture
def make_index(
    tmp_path: Path, written: Path, write_index: Callable[[Path, Precision, bool, bool], None]
) -> Callable[..., Path]:
    """Make such an index in a folder of the test's own, or update the one that is there."""

    def make(precision: Precision = "float16", *, with_codes: bool = True, graph: bool = False) -> Path:
        folder, asked = tmp_path / "index", (precision, with_codes, graph)
        if folder.exists():
            write_index(folder, *asked)
            return folder
        once = written / repr(asked)
        if not once.exists():
            write_index(once, *asked)
        return Path(shutil.copytree(once, folder))

    return make
