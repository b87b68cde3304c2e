"""The task stage: that it learns, that its phases resume bit for bit, and what it leaves and refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from transformers import Wav2Vec2Config, Wav2Vec2Model

from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, load_student, save_student
from earkit.distill.prediction import Prediction
from earkit.distill.student import StudentConfig
from earkit.distill.task import TaskReport, distil_task, task_config
from earkit.distill.task_clips import as_they_are
from earkit.distill.task_teacher import Graded, TaskLesson
from earkit.runtime.errors import CheckpointError, ConfigError, DataError

pytestmark = pytest.mark.usefixtures("one_thread")

PITCHES = {"high": 3000, "low": 300, "middle": 1000}  # in the order of the classes
SMALL = (
    *("teacher_views=4", "intermediate_steps=6", "prediction_steps=30"),
    *("save_every=5", "log_every=1", "probe_every=10", "cache=false", "held_out=0.2"),
    *("data.workers=0", "data.batch_seconds=4.5", "optim.lr=5e-3"),
    *("losses.codes.weight=0", "losses.stella.most_triples=50", "data.augment.room=0.0", "spans.per_clip=3"),
)


def write(folder: Path, labels: list[str], seconds: float = 0.3, column: str = "label") -> Corpus:
    """Tones in noise, the class by their pitch."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("path", column, "licence"))
        for i, label in enumerate(labels):
            t = np.arange(int(16000 * seconds * rng.uniform(0.8, 1.2))) / 16000
            tone = 0.3 * np.sin(2 * np.pi * PITCHES.get(label, 500) * rng.uniform(0.9, 1.1) * t)
            soundfile.write(folder / f"{i:02}.wav", tone + 0.03 * rng.standard_normal(len(t)), 16000)
            rows.writerow((f"{i:02}.wav", label, "CC0"))
    return open_corpus(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a teacher with random weights, and a student of it that has learnt nothing."""
    place = tmp_path_factory.mktemp("task")
    write(place / "corpus", [*PITCHES] * 7)
    torch.manual_seed(0)
    wav2vec = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16,) * 7,
        feat_extract_norm="layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(wav2vec).save_pretrained(place / "teacher")
    student = StudentConfig(size="custom", dim=32, depth=1, heads=1, embedding_dim=16)
    torch.manual_seed(1)
    model = DistilledStudent(student, Outputs(dims=(8, 16), codebooks=1, codebook_size=4))
    clips = [torch.from_numpy(clip.read().samples) for clip in open_corpus(place / "corpus").clips]
    model.student.log_mel.fit(clips)
    save_student(model, place / "student", Provenance(teachers=(str(place / "teacher"),)))
    return place


def run(place: Path, out: Path, *overrides: str, stop: tuple[str, int] | None = None) -> list[TaskReport]:
    """Run, or be killed when a phase shows a step."""
    reports: list[TaskReport] = []

    def report(shown: TaskReport) -> None:
        reports.append(shown)
        if (shown.phase, shown.step) == stop:
            raise KeyboardInterrupt

    config = task_config(start=str(place / "student"), overrides=[*SMALL, *overrides])
    distil_task(config, open_corpus(place / "corpus"), out, report=report, say=lambda _: None)
    return reports


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "student" / "student.safetensors")


@pytest.fixture(scope="module")
def whole(place: Path) -> tuple[Path, list[TaskReport]]:
    return place / "whole", run(place, place / "whole")


def test_learns_what_can_be_told_apart(whole: tuple[Path, list[TaskReport]]) -> None:
    out, reports = whole
    phases = [r.phase for r in reports]
    assert phases == ["intermediate"] * 6 + ["prediction"] * 30
    assert [r.step for r in reports] == [*range(1, 7), *range(1, 31)]
    held = [r.accuracy["held_out"] for r in reports if r.phase == "prediction" and "held_out" in r.accuracy]
    assert len(held) == 3
    assert held[-1] == 1
    assert np.mean([r.accuracy["views"] for r in reports[-9:]]) > 0.75
    assert set(reports[1].parts) == {"relations", "tinybert", "stella", "contrast"}
    metrics = [json.loads(x) for x in (out / "prediction" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["accuracy"]["held_out"] == 1


def test_the_student_that_is_kept_classifies_as_the_trained_one(
    whole: tuple[Path, list[TaskReport]], place: Path
) -> None:
    """By its own, unstandardised embedding; dims stay, heads that no longer fit go."""
    model, provenance = load_student(whole[0])
    assert model.outputs == Outputs(dims=(8, 16), classes=("high", "low", "middle"))
    assert [*provenance.teachers] == [str(place / "teacher")]
    assert [*provenance.licences] == ["CC0"]
    assert provenance.figures == {"held_out_accuracy": 1.0}
    assert provenance.steps == 36
    assert model.classifier is not None
    corpus = open_corpus(place / "corpus")
    config = task_config(start=str(place / "student"), overrides=SMALL)
    (batch,) = (
        as_they_are(corpus, config.data)
        if len(corpus.clips) < 10
        else list(as_they_are(corpus, config.data))[:1]
    )
    trace = model.student(batch.audio, batch.lengths)
    logits = model.classifier(model.student.pool(trace.hidden[-1], trace.valid))
    named = [model.outputs.classes[k] for k in logits.argmax(1)]
    right = [name == corpus.clips[i].labels["label"] for name, i in zip(named, batch.clips, strict=True)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("stop", [("intermediate", 6), ("prediction", 13)])
def test_killed_and_resumed_is_as_never_killed(
    whole: tuple[Path, list[TaskReport]], place: Path, tmp_path: Path, stop: tuple[str, int]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path / "run", stop=stop)
    rest = run(place, tmp_path / "run")
    assert (rest[0].phase, rest[0].step) == (stop[0], (stop[1] - 1) // 5 * 5 + 1)
    mine, reference = weights(tmp_path / "run"), weights(whole[0])
    assert mine.keys() == reference.keys()
    assert all(torch.equal(mine[name], reference[name]) for name in mine)


def test_a_run_that_is_done_does_nothing(whole: tuple[Path, list[TaskReport]], place: Path) -> None:
    before = weights(whole[0])
    assert run(place, whole[0]) == []
    assert all(torch.equal(x, before[name]) for name, x in weights(whole[0]).items())


def test_without_a_teacher_and_from_scratch(place: Path, tmp_path: Path) -> None:
    """Fine-tuning begins with the student's weights, scratch with others; both learn from labels alone."""
    still = ("prediction_steps=1", "optim.lr=1e-30")
    begun = weights_of_student(place / "student")
    for name, overrides, same in (("plain", ["teachers=[]"], True), ("scratch", ["scratch=true"], False)):
        reports = run(place, tmp_path / name, *still, *overrides)
        assert [r.phase for r in reports] == ["prediction"]
        now = weights_of_student(tmp_path / name)
        assert (
            torch.equal(now["blocks.0.feed_forward.rise.weight"], begun["blocks.0.feed_forward.rise.weight"])
            is same
        )
        assert not torch.equal(now["log_mel.mean"], begun["log_mel.mean"]) is not same
    assert not load_student(tmp_path / "scratch")[1].teachers


def test_without_a_task_teacher_the_last_phase_learns_from_labels(place: Path, tmp_path: Path) -> None:
    steps = ("teacher_views=0", "intermediate_steps=1", "prediction_steps=1")
    reports = run(place, tmp_path / "run", *steps)
    assert [r.phase for r in reports] == ["intermediate", "prediction"]
    assert "teacher" not in reports[1].phases
    assert load_student(tmp_path / "run")[1].teachers


@pytest.mark.parametrize(("anneal", "wanted"), [("true", [1, 0.75, 0.5, 0.25]), ("false", [1, 1, 1, 1])])
def test_soft_labels_fade_across_a_resume(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anneal: str, wanted: list[float]
) -> None:
    seen = []
    forward = Prediction.forward

    def watched(self: Prediction, lesson: TaskLesson) -> Graded:
        seen.append(lesson.soft_weight)
        assert lesson.soft is not None
        return forward(self, lesson)

    monkeypatch.setattr(Prediction, "forward", watched)
    steps = ("intermediate_steps=0", "prediction_steps=4", "save_every=1", f"anneal={anneal}")
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path / "run", *steps, stop=("prediction", 2))
    run(place, tmp_path / "run", *steps)
    assert seen == [*wanted[:2], *wanted[1:]]  # the second step was not saved, so it is done again


def weights_of_student(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_student(folder)[0].student.state_dict())


def test_finetuned_teachers_teach_the_intermediate_phase(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    steps = ("finetune_steps=3", "intermediate_steps=1", "prediction_steps=1")
    with pytest.raises(KeyboardInterrupt):
        run(place, out, *steps, stop=("teacher_finetuned", 2))
    assert [r.phase for r in run(place, out, *steps)][-2:] == ["intermediate", "prediction"]
    before = load_file(place / "teacher" / "model.safetensors")
    after = load_file(out / "teacher_finetuned" / "teacher_1" / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("encoder.") for name in moved)
    assert str(out) in (out / "intermediate" / "config.toml").read_text()
    assert [*load_student(out)[1].teachers] == [str(place / "teacher")]


def test_steps_are_shared_among_the_phases(place: Path) -> None:
    start = str(place / "student")
    config = task_config(start=start)
    assert config.steps == config.intermediate_steps + config.prediction_steps
    short = task_config(start=start, overrides=["steps=120"])
    parts = (short.finetune_steps, short.intermediate_steps, short.prediction_steps)
    whole = (0, config.intermediate_steps, config.prediction_steps)
    assert parts == tuple(round(120 * part / config.steps) for part in whole)
    alone = task_config(start=start, overrides=["teachers=[]", "steps=50"])
    assert (alone.teacher_views, alone.intermediate_steps, alone.prediction_steps) == (0, 0, 50)


def test_a_student_gives_its_shape_and_its_teachers(place: Path) -> None:
    config = task_config(start=str(place / "student"))
    assert [t.name for t in config.teachers] == [str(place / "teacher")]
    assert (config.student.dim, config.matryoshka.dims) == (32, (8, 16))
    assert task_config(start=str(place / "student"), teachers=["other"]).teachers[0].name == "other"
    with pytest.raises(ConfigError, match="is custom, not tiny"):
        task_config(start=str(place / "student"), student="tiny")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hours=1.0"], "paced by steps: give --steps"),
        (["scratch=true", 'teachers=[{name="x"}]'], "scratch learns from labels alone"),
        (["temperature=0.0"], "temperature must be above 0"),
        (["held_out=1.0"], "held_out is 1"),
        (["prediction_steps=0"], "at least 1"),
        (["teacher_views=0", "finetune_steps=5"], "fine-tuned with their head: set teacher_views"),
        (["teacher_views=0", "intermediate_steps=0"], "leave the teachers out"),
        (["matryoshka.dims=[4, 8]"], "must end with the full width"),
        (["views.cut=0.9"], "views.cut is a share"),
        (["views.speed_factor=[0.0, 1.0]"], "views.speed_factor two factors above 0"),
        (["losses.relation.weight=1.0"], "did you mean relations"),
    ],
)
def test_settings_that_make_no_sense(place: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_config(start=str(place / "student"), overrides=overrides)


def test_a_student_is_needed(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --from RUN"):
        task_config()
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="is a run without a student yet"):
        task_config(start=str(tmp_path))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ((["low"] * 6, 0.3, "label"), "has one class, low"),
        ((["low", "high"] * 3, 0.3, "word"), "has no column label"),
        (
            (["low", "high"] * 3, 0.15, "label"),
            "all clips of the class high of .* are shorter than data.min_seconds",
        ),
    ],
)
def test_corpora_that_are_no_task(
    place: Path, tmp_path: Path, written: tuple[list[str], float, str], message: str
) -> None:
    corpus = write(tmp_path / "corpus", *written)
    config = task_config(start=str(place / "student"), overrides=[*SMALL, "data.min_seconds=0.2"])
    with pytest.raises(DataError, match=message):
        distil_task(config, corpus, tmp_path / "run", report=lambda _: None, say=lambda _: None)
