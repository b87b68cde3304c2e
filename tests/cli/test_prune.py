"""`kit prune` as a person runs it: what it makes, what it says, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from earkit.distill.dinosr import DinoSR, DinoSRConfig, save_teacher
from earkit.distill.distilled import DistilledStudent, load_student
from earkit.export.graph import Selection, clip_graph

pytestmark = pytest.mark.usefixtures("one_thread", "here")

Kit = Callable[..., tuple[int, str, str]]

RECIPE = """
steps = 2
save_every = 2
log_every = 1
probe_every = 0
[student]
size = "custom"
dim = 32
depth = 2
embedding_dim = 16
[matryoshka]
dims = [8, 16]
[losses.tinybert]
weight = 1.0
attention = 0.0
embedding = 0.0
[losses.codes]
weight = 1.0
[data]
max_seconds = 0.7
min_seconds = 0.3
batch_seconds = 1.5
workers = 0
"""


@pytest.fixture
def runs(here: Path, kit: Kit) -> Path:
    """A student, in the run `owl`, of a teacher with random weights."""
    (here / "corpus").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        soundfile.write(here / "corpus" / f"{i}.flac", 0.1 * rng.standard_normal(10_000), 16_000)
    torch.manual_seed(0)
    small = DinoSRConfig(
        depth=2, dim=32, heads=2, ffn_dim=64, conv_dim=16, codebooks=1, codebook_size=8, pos_groups=2
    )
    save_teacher(DinoSR(small), here / "ear")
    (here / "small.toml").write_text(RECIPE)
    given = ("--recipe", "small.toml", "--teacher", "ear", "--data", "corpus", "--out", "runs/owl")
    assert kit("distill", *given)[0] == 0
    return here / "runs"


ECHO = """
<ir_version: 8, opset_import: ["" : 17]>
echo (float[batch, samples] audio, int64[batch] lengths) => (float[batch, samples] embedding)
{ embedding = Identity(audio) }
"""


def test_the_newest_student_is_pruned_and_exported(
    kit: Kit, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []

    def graph(model: DistilledStudent, selection: Selection) -> onnx.ModelProto:
        """Stand in for the export of what is timed, which takes seconds."""
        timed.append((model.config.inner_dim(1), selection.outputs))
        return onnx.parser.parse_model(ECHO)

    options = ("--target-params", "0.9", "--rounds", "1", "--steps", "2", "--set", "calibration_batches=1")
    with monkeypatch.context() as patch:
        patch.setattr("earkit.export.student.clip_graph", clip_graph)  # what exports keeps the real one
        patch.setattr("earkit.export.graph.clip_graph", graph)
        code, answer, talk = kit("prune", *options, "--json")
    assert code == 0, talk
    assert "taking the newest run with a student, runs/owl" in talk
    made = json.loads(answer)
    assert (made["run"], made["pruned"]) == ("runs/owl-pruned", "runs/owl-pruned/student")
    before, after = made["rows"]
    outputs = ("embedding", "frames", "tokens")
    assert timed == [(row["inner_dims"][0], outputs) for row in (before, after)]
    assert after["parameters"] <= 0.9 * before["parameters"]
    assert before["speed"] == 1.0
    table = talk[talk.rindex("blocks") :]
    assert f"{after['parameters'] / 1e6:.2f} M" in table
    assert "round 1" in table
    code, file, talk = kit("export", "runs/owl-pruned")
    assert code == 0, talk
    session = onnxruntime.InferenceSession(file.strip())
    clip = {"audio": np.zeros((1, 9_000), np.float32), "lengths": np.array([9_000])}
    assert session.run(["embedding"], clip)[0].shape == (1, 16)
    assert load_student(runs / "owl-pruned")[0].config.inner_dims


def test_a_teacher_is_pruned_into_a_teacher(kit: Kit, runs: Path) -> None:
    crops = ("data.max_seconds=0.6", "data.min_seconds=0.3", "data.batch_seconds=1.5", "data.workers=0")
    options = [part for crop in (*crops, "calibration_batches=1") for part in ("--set", crop)]
    given = ("prune", "ear", "--target-params", "0.9", "--rounds", "1", "--steps", "1", *options)
    code, _, talk = kit(*given)
    assert code == 2
    assert "so not what it learned from: give --data" in talk
    code, answer, talk = kit(*given, "--data", "corpus")
    assert (code, answer) == (0, "runs/ear-pruned/teacher\n"), talk
    assert "10 s of audio" in talk
    assert kit("teachers", "info", "runs/ear-pruned")[0] == 0
    assert runs.is_dir()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say how far to prune in one way, above 0"),
        (("--target-macs", "1.2"), "--target-macs is a share above 0 and at most 1, not 1.2"),
        (("--target-params", "-1"), "--target-params is a share above 0 and at most 1, or a number"),
        (("--target-params", "99999999"), "or a number of parameters up to the"),
        (("--target-macs", "0.5", "--speedup", "2"), "say how far to prune in one way"),
        (
            ("--target-macs", "0.9", "--importance", "size"),
            "importance must be one of taylor, magnitude, random",
        ),
        (
            ("--target-macs", "0.9", "--rounds", "0"),
            "rounds, calibration_batches and head_steps are 1 or more",
        ),
        (("--target-macs", "0.9", "--set", "optim.stepz=1"), "optim: unknown key stepz"),
        (("--target-macs", "0.9", "--teacher", "nobody"), "there is no teacher nobody"),
        (("--target-macs", "0.01", "--steps", "3", "--importance", "magnitude"), "pruned as far as it goes"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, kit: Kit, runs: Path
) -> None:
    code, answer, talk = kit("prune", "runs/owl", *arguments)
    assert code not in {0, 1}
    assert answer == ""
    assert sentence in talk.splitlines()[-1]
    assert not (runs / "owl-pruned" / "student").exists()


def test_a_place_without_a_whole_student_is_one_sentence(kit: Kit, runs: Path) -> None:
    for place, sentence in (
        ("corpus", "is no teacher|there is no student in corpus"),
        ("nowhere", "there is no student in"),
    ):
        code, _, talk = kit("prune", place, "--target-macs", "0.6")
        assert code == 4
        assert any(part in talk.splitlines()[-1] for part in sentence.split("|"))
    weights = runs / "owl" / "student" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    code, _, talk = kit("prune", "runs/owl", "--target-macs", "0.9")
    assert code == 4
    assert "is not a whole student folder" in talk.splitlines()[-1]
