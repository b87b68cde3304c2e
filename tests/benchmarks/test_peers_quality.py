"""Everyone is scored and priced once; what is stored is taken, and a quick run stores nothing."""

import json
from pathlib import Path

import pytest

from earkit.benchmarks import peers_quality as module
from earkit.benchmarks import results
from earkit.benchmarks.cost import Cost, Plan
from earkit.benchmarks.evaluation import HEADLINES, Cell
from earkit.benchmarks.peers_quality import contenders, fronts, html, prices, quality, run, stand_ins
from earkit.benchmarks.tasks.task import Score
from earkit.runtime.errors import ConfigError
from earkit.runtime.find_model import built_in

TIMES = {"10 s, 1 thread": 0.02}


def cell(model: str, task: str, value: float) -> Cell:
    return Cell(model, "w", task, "c", 0, 1.0, (Score(task, HEADLINES[task], value, (0.0, 1.0), "speakers"),))


def cost(name: str, seconds: float) -> Cost:
    return Cost(name, "test", 5, 1.0, {"10": 7}, {"10 s, 1 thread": seconds}, TIMES, 1.0, 50.0)


def test_contenders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_model: Path) -> None:
    (shipped := tmp_path / "of_all-int8.onnx").write_bytes(built_in()["tiny"].read_bytes())
    trained = {"dinosr": "speech/dinosr", "of_all": str(clip_model), "of_all-int8": str(shipped)}
    monkeypatch.setattr(module.speech_models, "made", lambda: trained)
    named = contenders(["tiny int8=runs/a/b.onnx", "runs/c"], quick=False)
    assert named["tiny int8"] == "runs/a/b.onnx"
    assert named["runs/c"] == "runs/c"
    assert {"log-mel", "mfcc", "whisper_small", "resemblyzer", "moonshine"} <= named.keys()
    assert named["dinosr"] == "speech/dinosr"
    assert named["of_all"] == str(clip_model)
    assert named["tiny"] == "tiny"
    assert "of_all-int8" not in named
    assert not [name for name in contenders([], quick=True) if "whisper" in name or name == "of_all"]


def test_quality_against_time() -> None:
    cells = [
        cell("slow", "digits", 0.9),
        cell("fast", "digits", 0.6),
        cell("bad", "digits", 0.5),
        cell("slow", "word_abx", 0.1),
        cell("slow", "label_free", 9.0),
        Cell("vectors", "w", "word_abx", "c", 0, 1.0, ()),
    ]
    measured = [cost("slow", 0.5), cost("fast", 0.01), cost("bad", 0.02), cost("vectors", 0.1)]
    digits, abx = fronts(cells, measured)
    assert [(p.name, p.x, p.y, p.group) for p in digits.points] == [
        ("slow", 500, 90, "on the Pareto front"),
        ("fast", 10, 60, "on the Pareto front"),
        ("bad", 20, 50, "behind it"),
    ]
    assert [(p.name, p.y) for p in abx.points] == [("slow", 90)]  # what is right, of an error
    assert "100 - word_abx" in abx.y
    assert html(cells[:4], measured).count("<svg") == 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "available", lambda names, say: [])
    monkeypatch.setattr(module, "weights_checksum", lambda what: f"sha of {what}")
    return tmp_path


def test_scores_are_stored_as_they_come_and_taken_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[Cell]] = []

    def evaluation(models, tasks, seed, *, kept, keep, say) -> list[Cell]:
        given.append(list(kept))
        keep([cell("a", "digits", 0.5)])
        return [cell("a", "digits", 0.5)]

    monkeypatch.setattr(module, "evaluation", evaluation)
    quality({"a": "a"}, 0, quick=True)
    assert list(folder.iterdir()) == []
    quality({"a": "a"}, 0, quick=False)
    quality({"a": "a"}, 0, quick=False)
    quality({"a": "a"}, 1, quick=False)  # another seed
    assert given == [[], [], [cell("a", "digits", 0.5)], []]


def test_costs_are_taken_again_only_for_the_same_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def costs(those, plan: Plan, say) -> list[Cost]:
        asked.append([each.name for each in those])
        return [cost(each.name, 0.1) for each in those]

    monkeypatch.setattr(module, "costs", costs)
    models = {"log-mel": "log-mel", "speech_embedding": "mfcc"}
    prices(models, quick=True)
    assert list(folder.iterdir()) == []
    first = prices(models, quick=False)
    assert asked[-1] == ["speech_embedding", "log-mel"]  # with whose speed the others' is compared
    assert prices(models, quick=False) == first
    assert len(asked) == 2
    monkeypatch.setattr(module, "weights_checksum", lambda what: "trained again")
    prices(models, quick=False)
    assert len(asked) == 3
    assert json.loads((folder / "peers_cost.json").read_text())["settings"]["plan"]["lengths"] == [1, 10, 60]


def test_ours_that_are_not_trained_here_have_stand_ins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {"dinosr": folder / "dinosr", "of_dinosr": folder / "of_dinosr.onnx"}
    monkeypatch.setattr(module.speech_models, "untrained", lambda place: written)
    made = stand_ins({"log-mel": "log-mel", "dinosr": "mine"}, folder)
    assert made == {"of_dinosr, random weights": str(folder / "of_dinosr.onnx")}
    assert stand_ins({"of_dinosr": "mine", "dinosr": "mine"}, folder) == {}


def test_the_whole_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(
        module, "evaluation", lambda models, *_, **__: [cell(m, "digits", 0.5) for m in models]
    )
    monkeypatch.setattr(module, "costs", lambda those, *_: [cost(each.name, 0.1) for each in those])
    monkeypatch.setattr(module, "contenders", lambda models, quick: {"mfcc": "mfcc", "log-mel": "log-mel"})
    run([], [], seed=0, quick=True, page=folder / "peers.html")
    assert "Quality against cost" in (folder / "peers.html").read_text()
    said = capsys.readouterr().out
    assert "50.0 (0.0\u2013100.0)" in said
    assert "cold start" in said


def test_only_some_are_scored_and_none_is_timed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[dict[str, str]] = []
    monkeypatch.setattr(module, "evaluation", lambda models, *_, **__: scored.append(dict(models)) or [])
    monkeypatch.setattr(module, "costs", lambda *_: pytest.fail("timed"))
    run(["mine=a.onnx"], ["mfcc", "mine"], seed=0, quick=False, page=folder / "peers.html")
    assert scored == [{"mfcc": "mfcc", "mine": "a.onnx"}]
    with pytest.raises(ConfigError, match="there is no wisper_tiny: name some of log-mel, mfcc"):
        run([], ["wisper_tiny"], seed=0, quick=False, page=folder / "peers.html")
