"""What a student learns: which losses there are, how teachers weigh, and that nothing depends on padding."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from earkit.distill.losses.codes import CodesConfig
from earkit.distill.losses.contrast import ContrastConfig
from earkit.distill.losses.csr import CSRConfig
from earkit.distill.losses.distance_correlation import DistanceCorrelationConfig
from earkit.distill.losses.masked import MaskedConfig
from earkit.distill.losses.matryoshka import MatryoshkaConfig
from earkit.distill.losses.relations import RelationsConfig
from earkit.distill.losses.stella import StellaConfig
from earkit.distill.losses.tinybert import TinyBERTConfig
from earkit.distill.objective import Distillation, Lesson, LossesConfig, TeacherConfig, pairs_of
from earkit.distill.spans import SpanConfig, cut_out, draw_spans
from earkit.distill.student import Student, StudentConfig
from earkit.distill.trace import Needs, PairShape, QueryKeyValue, Targets
from earkit.runtime.errors import ConfigError

LENGTHS = torch.tensor([9000, 4000, 6400])
FRAMES = torch.tensor([15, 7, 10])
PARTS = 3
DIMS = MatryoshkaConfig(dims=(8, 16))
STUDENT = StudentConfig(size="custom", dim=32, depth=2, bands=20, embedding_dim=16, block="hybrid")
FULL = PairShape(32, 2, 6, 3, ((1, 2), (2, 3)), teacher_heads=2, codebooks=2, codebook_size=5)
VECTOR = PairShape(32, 2, 4, 0, ())
ONE = {
    "tinybert": LossesConfig(tinybert=TinyBERTConfig(weight=0.5)),
    "relations": LossesConfig(relations=RelationsConfig(weight=0.5)),
    "codes": LossesConfig(codes=CodesConfig(weight=0.5)),
    "masked": LossesConfig(masked=MaskedConfig(weight=0.5)),
    "distance_correlation": LossesConfig(distance_correlation=DistanceCorrelationConfig(weight=0.5)),
    "stella": LossesConfig(stella=StellaConfig(weight=0.5)),
    "contrast": LossesConfig(contrast=ContrastConfig(weight=0.5)),
    "csr": LossesConfig(csr=CSRConfig(weight=0.5, width=64, k=8, k_min=4, k_max=16), csr_joint=True),
}
ALL = LossesConfig(
    **{name: getattr(losses, name) for name, losses in ONE.items()},
    csr_joint=True,
)
BY_FRAME = ("tinybert", "relations", "codes", "masked", "distance_correlation")


def targets(shape: PairShape, seed: int, behind: int = 0) -> Targets:
    """Random features with zeros where no frame is, the last frame of the first clip among that."""
    generator = torch.Generator().manual_seed(seed)
    time, layers = 15, range(shape.teacher_layers + 1)
    valid = torch.arange(time) < FRAMES[:, None]
    valid[0, -1] = False
    if not shape.layer_map:
        valid[:] = False

    def features(*leading: int, dim: int) -> Tensor:
        x = torch.randn(*leading, 3, time, dim, generator=generator) * valid[:, :, None]
        return F.pad(x, (0, 0, 0, behind))

    hidden = {k: features(dim=shape.teacher_dim) for k in layers} if shape.layer_map else {}
    heads = {k: [features(2, dim=3).transpose(0, 1) for _ in range(3)] for k in layers[1:]}
    return Targets(
        F.pad(valid, (0, behind)),
        hidden,
        {k: QueryKeyValue(*x) for k, x in heads.items()},
        features(2, dim=5) if shape.codebooks else None,
        None if shape.layer_map else torch.randn(3, shape.teacher_dim, generator=generator),
    )


def lesson(module: Distillation, *of: Targets, behind: int = 0, exit_block: int = 0) -> Lesson:
    """One batch, with what is needed of the teachers; `behind` are more frames of padding, noise as audio."""
    asked = zip(of, module.needs(), strict=True)
    given = tuple(replace(x, hidden={k: x.hidden[k] for k in needs.hidden}) for x, needs in asked)
    generator = torch.Generator().manual_seed(9)
    audio = 0.2 * torch.randn(3, 9000, generator=generator)
    spans = draw_spans(FRAMES, SpanConfig(per_clip=2), np.random.default_rng(4))
    cuts, cut_lengths = cut_out(audio, LENGTHS, spans)
    masked = torch.zeros(3, 15, dtype=torch.bool)
    masked[:, 2:5] = True
    return Lesson(
        audio=torch.cat([audio, torch.randn(3, 9600 + 640 * behind - 9000)], dim=1),
        lengths=LENGTHS,
        targets=given,
        spans=spans,
        cuts=torch.cat([cuts, torch.randn(6, 640 * behind)], dim=1),
        cut_lengths=cut_lengths,
        masked=F.pad(masked, (0, behind), value=True),
        exit_block=exit_block,
        frames=float(FRAMES.sum()),
    )


def distillation(
    losses: LossesConfig,
    *shapes: PairShape,
    weights: tuple[float, ...] = (1, 1, 1),
    dims: MatryoshkaConfig = DIMS,
) -> Distillation:
    """Teachers a, b and c, whose statistics are not 0 and 1; no step counts dead latents."""
    torch.manual_seed(0)
    teachers = tuple(TeacherConfig(n, w) for n, w, _ in zip("abc", weights, shapes, strict=False))
    module = Distillation(Student(STUDENT), teachers, shapes, losses=losses, dims=dims, parts=PARTS).eval()
    for buffer in module.standardisers.buffers():
        buffer.add_(0.5 * torch.rand_like(buffer))
    return module


@pytest.mark.parametrize("name", ONE)
def test_a_loss_is_there_if_it_is_on_and_reaches_the_student(name: str) -> None:
    module = distillation(ONE[name], FULL)
    lost = module(lesson(module, targets(FULL, 0)))
    assert set(lost.parts) == {name}
    assert lost.loss_sum.item() == pytest.approx(32 * float(lost.parts[name]), rel=1e-5)
    assert float(lost.parts[name]) > 0
    lost.loss_sum.backward()
    reached = {n for n, p in module.student.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"stem.weight", "blocks.0.convolution.depthwise.weight"} <= reached
    assert ("pooling.project.weight" in reached) == (name not in BY_FRAME)
    assert ("blank" in reached) == (name == "masked")


@pytest.mark.parametrize("name", ONE)
def test_a_weight_is_a_factor(name: str) -> None:
    made = []
    for weight in (0.5, 1.5):
        config = replace(ONE[name], **{name: replace(getattr(ONE[name], name), weight=weight)})
        module = distillation(config, FULL)
        made.append(float(module(lesson(module, targets(FULL, 0))).parts[name]))
    assert made[1] == pytest.approx(3 * made[0], rel=1e-5)


def test_tinybert_counts_more_where_no_teacher_has_codebooks() -> None:
    codeless = replace(FULL, codebooks=0)

    def loss(factor: float, *shapes: PairShape) -> float:
        config = LossesConfig(tinybert=TinyBERTConfig(weight=0.5, without_codes=factor))
        module = distillation(config, *shapes)
        given = lesson(module, *(targets(FULL, seed) for seed, _ in enumerate(shapes)))
        return sum(float(part) for part in module(given).parts.values())

    assert loss(10, codeless) == pytest.approx(10 * loss(1, codeless), rel=1e-5)
    assert loss(10, codeless, codeless) == pytest.approx(10 * loss(1, codeless, codeless), rel=1e-5)
    assert loss(10, codeless, FULL) == pytest.approx(loss(1, codeless, FULL), rel=1e-6)


def test_correlation_of_vectors_is_about_embeddings() -> None:
    config = DistanceCorrelationConfig(weight=0.5, on="vectors")
    module = distillation(LossesConfig(distance_correlation=config), FULL)
    lost = module(lesson(module, targets(FULL, 0)))
    assert set(lost.parts) == {"distance_correlation"}
    lost.loss_sum.backward()
    assert module.student.pooling.project.weight.grad.any()


def test_a_sparse_code_alone_leaves_the_student_as_it_is() -> None:
    module = distillation(replace(ONE["csr"], csr_joint=False), FULL)
    module(lesson(module, targets(FULL, 0))).loss_sum.backward()
    assert all(p.grad is None or not p.grad.any() for p in module.student.parameters())
    assert module.embedding_losses.csr.encoder.weight.grad.any()


def test_the_whole_is_the_sum_of_the_parts() -> None:
    module = distillation(ALL, FULL)
    lost = module(lesson(module, targets(FULL, 0)))
    assert set(lost.parts) == set(ONE)
    assert lost.loss_sum.item() == pytest.approx(32 * sum(map(float, lost.parts.values())), rel=1e-5)


def test_padding_does_not_matter() -> None:
    module = distillation(ALL, FULL, VECTOR)
    made = [
        module(lesson(module, targets(FULL, 0, n), targets(VECTOR, 1, n), behind=n, exit_block=1)).parts
        for n in (0, 6)
    ]
    assert set(made[0]) == set(made[1]) >= {"a.tinybert", "stella", "stella_early"}
    for name, part in made[0].items():
        assert float(made[1][name]) == pytest.approx(float(part), rel=1e-4), name


def test_teachers_weigh_by_their_share() -> None:
    """The same teacher twice, heads and statistics too, weighing 3 and 1."""
    both, one = distillation(ALL, FULL, FULL, weights=(3, 1)), distillation(ALL, FULL)
    first = both.frame_losses[0].state_dict(), both.standardisers[0].state_dict()
    for losses, norm in [
        (both.frame_losses[1], both.standardisers[1]),
        (one.frame_losses[0], one.standardisers[0]),
    ]:
        losses.load_state_dict(first[0])
        norm.load_state_dict(first[1])
    one.student.load_state_dict(both.student.state_dict())
    twice = both(lesson(both, targets(FULL, 0), targets(FULL, 0))).parts
    once = one(lesson(one, targets(FULL, 0))).parts
    for name in BY_FRAME:
        assert float(twice[f"a.{name}"]) == pytest.approx(0.75 * float(once[name]), rel=1e-4)
        assert float(twice[f"b.{name}"]) == pytest.approx(0.25 * float(once[name]), rel=1e-4)
    assert set(twice) == {f"{t}.{name}" for t in "ab" for name in BY_FRAME} | {"stella", "contrast", "csr"}


def caught(module: Distillation, given: Lesson) -> SimpleNamespace:
    """What reaches the losses on embeddings: made, spans, clips."""
    seen = SimpleNamespace()

    def catch(_: torch.nn.Module, args: tuple) -> None:
        seen.made, seen.spans, seen.clips = args

    with module.embedding_losses.register_forward_pre_hook(catch), torch.no_grad():
        module(given)
    return seen


def vector_of(module: Distillation, teacher: int, of: Targets, clip: int, frames: list[int]) -> Tensor:
    """By hand: standardise, mean of the mapped layers, and means of valid frames over thirds of the span."""
    norm = module.standardisers[teacher]
    if of.vector is not None:
        return (of.vector[clip] - norm.mean_vector) / norm.deviation_vector
    standard = {
        k: (of.hidden[k] - norm.get_buffer(f"mean_{k}")) / norm.get_buffer(f"deviation_{k}") for k in (2, 3)
    }
    thirds: list[list[Tensor]] = [[] for _ in range(PARTS)]
    for rank, frame in enumerate(frames):
        if of.valid[clip, frame]:
            thirds[int((rank + 0.5) / len(frames) * PARTS)].append(
                (standard[2][clip, frame] + standard[3][clip, frame]) / 2
            )
    return torch.cat([torch.stack(third).mean(0) if third else torch.zeros(6) for third in thirds])


def test_several_teachers_speak_as_one_with_the_weighted_mean_of_their_similarities() -> None:
    module = distillation(ONE["stella"], FULL, FULL, VECTOR, weights=(1, 2, 5))
    of = (targets(FULL, 0), targets(FULL, 1), targets(VECTOR, 2))
    given = lesson(module, *of)
    seen = caught(module, given)
    rows = zip(given.spans.row.tolist(), given.spans.frames, given.spans.counted, strict=True)
    places = [(clip, frames[counted].tolist()) for clip, frames, counted in rows]
    wholes = [(clip, list(range(int(FRAMES[clip])))) for clip in range(3)]
    for found, wanted in ((seen.spans, places), (seen.clips, wholes)):
        expected = torch.zeros(len(wanted), len(wanted))
        for teacher, share in enumerate((1 / 8, 2 / 8, 5 / 8)):
            vectors = [vector_of(module, teacher, of[teacher], *place) for place in wanted]
            for i, one in enumerate(vectors):
                for j, other in enumerate(vectors):
                    expected[i, j] += (
                        share * float(one @ other) / math.sqrt(float(one @ one) * float(other @ other))
                    )
        torch.testing.assert_close(found @ found.T, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))


def test_embeddings_are_of_spans_heard_in_their_clip_and_alone_and_of_clips() -> None:
    module = distillation(ONE["stella"], FULL)
    given = lesson(module, targets(FULL, 0), exit_block=1)
    made, student = caught(module, given).made, module.student
    with torch.no_grad():
        for i, clip in enumerate(given.spans.row.tolist()):
            frames = given.spans.frames[i][given.spans.counted[i]]
            alone = student(given.audio[clip : clip + 1, : LENGTHS[clip]], LENGTHS[clip : clip + 1])
            for found, hidden in ((made.spans, alone.hidden[2]), (made.early, alone.hidden[1])):
                heard = hidden[:, frames]
                expected = student.pool(heard, torch.ones(heard.shape[:2], dtype=torch.bool))
                torch.testing.assert_close(found[i], expected[0], atol=1e-5, rtol=1e-5)
            sound = given.audio[
                clip, 640 * int(frames[0]) : min(640 * (int(frames[-1]) + 1), int(LENGTHS[clip]))
            ]
            cut = student(sound[None], torch.tensor([len(sound)]))
            torch.testing.assert_close(
                made.cuts[i], student.pool(cut.hidden[2], cut.valid)[0], atol=1e-5, rtol=1e-5
            )
            whole = student.pool(alone.hidden[2], alone.valid)[0]
            torch.testing.assert_close(made.clips[clip], whole, atol=1e-5, rtol=1e-5)
    assert made.same.tolist() == [[i // 2 == j // 2 for j in range(6)] for i in range(6)]


def test_early_embeddings_are_taught_only_where_some_leave() -> None:
    module = distillation(ONE["stella"], FULL)
    assert set(module(lesson(module, targets(FULL, 0))).parts) == {"stella"}
    assert set(module(lesson(module, targets(FULL, 0), exit_block=1)).parts) == {"stella", "stella_early"}
    assert caught(module, lesson(module, targets(FULL, 0))).made.early is None


def test_a_teacher_of_vectors_has_no_losses_on_frames_and_that_is_said() -> None:
    module = distillation(ALL, VECTOR)
    assert module.needs() == [Needs(vector=True)]
    assert set(module(lesson(module, targets(VECTOR, 0))).parts) == {"stella", "contrast", "csr"}
    assert module.left_out() == [f"teacher a gives nothing for {', '.join(BY_FRAME)}: off for it"]
    assert module.codes() is None


def test_a_teacher_without_codebooks_is_said_to_be() -> None:
    module = distillation(ALL, replace(FULL, codebooks=0), FULL)
    assert module.left_out() == ["teacher a gives nothing for codes: off for it"]
    assert module.codes() is module.frame_losses[1].codes
    parts = module(lesson(module, replace(targets(FULL, 0), codes=None), targets(FULL, 1))).parts
    assert "b.codes" in parts
    assert "a.codes" not in parts
    assert distillation(ALL, FULL).left_out() == []


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match="a give nothing for relations: switch on stella"):
        distillation(ONE["relations"], VECTOR)
    distillation(ONE["relations"], VECTOR, FULL)


def test_a_teacher_is_asked_for_no_more_than_is_needed() -> None:
    assert distillation(ONE["stella"], FULL).needs() == [Needs(frozenset({2, 3}))]
    assert distillation(ONE["codes"], FULL).needs() == [Needs(frozenset({2, 3}), codes=True)]
    asked = TeacherConfig("a", vector_layers=(1,))
    module = Distillation(Student(STUDENT), (asked,), (FULL,), losses=ALL, dims=DIMS, parts=PARTS)
    assert module.needs() == [Needs(frozenset({0, 1, 2, 3}), frozenset({2, 3}), codes=True)]


def test_layer_maps() -> None:
    assert pairs_of(TeacherConfig("a"), 2, 3) == ((1, 2), (2, 3))
    assert pairs_of(TeacherConfig("a", layer_map="last"), 2, 3) == ((2, 3),)
    assert pairs_of(TeacherConfig("a", pairs=((1, 3),)), 2, 3) == ((1, 3),)


def test_a_loss_is_on_by_its_weight() -> None:
    assert LossesConfig().on() == []
    assert LossesConfig(csr_joint=True).on() == []
    assert ALL.on() == list(ONE)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_teacher_without_weight_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="the weight of teacher a must be above 0"):
        TeacherConfig("a", weight)
