"""Students with random weights and what is exported of them, once for all tests: an export takes seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.losses.csr import CSRConfig
from earkit.distill.student import Block, StudentConfig
from earkit.export.student import Exported, export_student


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def student(block: Block = "convolution", *, elastic: bool = False) -> DistilledStudent:
    """No parameter of it has its first value, which might hide that it is not used."""
    torch.manual_seed(0)
    config = StudentConfig(
        size="custom",
        dim=32,
        depth=2,
        heads=2,
        block=block,
        kernel=7,
        kernel_ahead=2,
        attention_back=6,
        attention_ahead=3,
        bands=20,
        embedding_dim=16,
    )
    sparse = CSRConfig(weight=1.0, width=48, k=8, k_min=4, k_max=12)
    model = DistilledStudent(
        config,
        Outputs(
            dims=(8, 16),
            codebooks=2,
            codebook_size=10,
            sparse=sparse,
            classes=("dog", "cat", "owl"),
            elastic=elastic,
        ),
    )
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    nn.init.normal_(model.student.log_mel.mean, -6.0, 1.0)
    nn.init.uniform_(model.student.log_mel.deviation, 1.0, 3.0)
    return model.eval()


def save(place: Path, model: DistilledStudent) -> Path:
    """A run folder with a student."""
    provenance = Provenance(
        name=place.name,
        teachers=("somewhere/ear",),
        data="/somewhere/private/clips.csv",
        licences=("CC0",),
        audio_seconds=7200.0,
        steps=9,
        figures={"words": 0.75},
    )
    save_student(model, place / "student", provenance)
    return place


@pytest.fixture(scope="session")
def make_student() -> Callable[..., DistilledStudent]:
    """Give `student`."""
    return student


@pytest.fixture(scope="session")
def save_run() -> Callable[[Path, DistilledStudent], Path]:
    """Give `save`."""
    return save


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a student with everything that a student can have."""
    return save(tmp_path_factory.mktemp("runs") / "owl", student())


@pytest.fixture(scope="session")
def exported(run: Path) -> Exported:
    """The model file of that run, by default options."""
    return export_student(run)


@pytest.fixture(scope="session")
def stream(run: Path) -> Exported:
    """The step graph of that run."""
    return export_student(run, streaming=True)
