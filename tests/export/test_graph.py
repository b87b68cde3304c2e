"""What may be asked of a student, and what the graph is made of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.student import StudentConfig
from earkit.export.graph import clip_graph, select, token_head
from earkit.export.student import Exported
from earkit.export.verify import verify
from earkit.runtime.errors import ConfigError
from earkit.runtime.inference import open_graph, pad
from earkit.runtime.trial_sounds import sounds

MakeStudent = Callable[..., DistilledStudent]
BARE = StudentConfig(
    size="custom", dim=32, depth=3, heads=1, kernel=3, kernel_ahead=1, bands=8, embedding_dim=8
)


def bare(**outputs: object) -> DistilledStudent:
    torch.manual_seed(0)
    return DistilledStudent(BARE, Outputs(**outputs)).eval()  # type: ignore[arg-type]


def test_a_bare_student_gives_frames_and_an_embedding() -> None:
    assert select(bare()).outputs == ("embedding", "frames")
    assert select(bare(), ["frames"]).names == ("frames", "frame_lengths")


def test_everything_is_selected_in_one_order_and_once() -> None:
    model = bare(codebooks=3, codebook_size=4, classes=("a", "b"))
    assert select(model, ["scores", "tokens", "frames"]).names == (
        "frames",
        "frame_lengths",
        "tokens",
        "scores",
    )
    assert select(model).codebook == 2
    assert select(model, codebook=0).codebook == 0


def test_an_elastic_student_left_early_gives_what_was_learnt_for_there() -> None:
    model = bare(codebooks=1, codebook_size=4, elastic=True)
    assert select(model, depth=2).outputs == ("embedding", "frames")
    assert select(model, depth=3).outputs == ("embedding", "frames", "tokens")
    with pytest.raises(ConfigError, match="gives no tokens at depth 2: take some of embedding, frames"):
        select(model, ["tokens"], depth=2)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"outputs": ["embeding"]}, "gives no embeding: take some of embedding, frames"),
        ({"outputs": ["tokens"]}, "gives no tokens"),
        ({"depth": 2}, "was not distilled with --elastic"),
        ({"codebook": 0}, "there is no codebook 0"),
        (
            {"outputs": ["embedding"], "streaming": True},
            "gives no embedding in a stream: take some of frames",
        ),
    ],
)
def test_what_is_not_there_is_refused(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        select(bare(), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [0, 4])
def test_a_depth_that_is_not_there_is_refused(depth: int) -> None:
    with pytest.raises(ConfigError, match="take 1 to 3"):
        select(bare(elastic=True), depth=depth)


def test_the_token_head_is_that_of_the_codebook() -> None:
    model = bare(codebooks=3, codebook_size=4)
    frames = torch.randn(2, 5, 32)
    for codebook, wanted in enumerate(model.tokens(frames)):
        assert torch.equal(token_head(model, codebook)(frames).argmax(-1), wanted)


def test_the_first_block_of_a_student_that_attends_is_exported(make_student: MakeStudent) -> None:
    model = make_student("attention", elastic=True)
    selection = select(model, depth=1)
    proto = clip_graph(model, selection)
    assert set(verify(proto, model, selection)) == {"embedding", "frames", "frame_lengths"}
    assert not any("blocks.1" in node.name for node in proto.graph.node)
    clips = sounds((0.3, 1.0))
    given = open_graph(proto).run(["embedding"], pad(clips))[0]
    with torch.inference_mode():
        for row, clip in zip(given, clips, strict=True):
            wanted = model.embed(torch.from_numpy(clip)[None], torch.tensor([len(clip)]), depth=1)[0]
            np.testing.assert_allclose(row, wanted.numpy(), atol=1e-4)


def test_the_graph_is_portable_and_tells_nothing_of_this_machine(exported: Exported) -> None:
    proto = onnx.load(exported.file)
    onnx.checker.check_model(proto, full_check=True)
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 20)]
    assert not any(each.external_data for each in proto.graph.initializer)
    operators = {node.op_type for node in proto.graph.node}
    assert operators == set(exported.info.operators)
    assert {"LayerNormalization", "Gelu"} <= operators
    content = exported.file.read_bytes()
    assert str(Path(__file__).parents[1]).encode() not in content
    assert b"private" not in content


def test_nodes_are_named_by_their_place(exported: Exported) -> None:
    names = [node.name for node in onnx.load(exported.file).graph.node]
    assert len(set(names)) == len(names)
    assert "student.blocks.1.feed_forward.rise/MatMul" in names
    assert sum(name.startswith("student.log_mel/MatMul") for name in names) == 6


def test_batch_and_time_are_open(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    shapes = {put.name: put.shape for put in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["audio"] == ["batch", "samples"]
    assert shapes["frames"] == ["batch", "time", 32]
    assert shapes["sparse_values"] == ["batch", 12]
    assert shapes["scores"] == ["batch", 3]
