import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks import results, speech_models
from earkit.benchmarks.contestants import contestant
from earkit.benchmarks.corpora.recipe import Recipe
from earkit.benchmarks.evaluation import Cell
from earkit.benchmarks.speech_models import made, manifest_of_all, ship, untrained
from earkit.benchmarks.tasks.task import Score
from earkit.distill.data.corpus import open_corpus
from earkit.runtime.errors import DataError
from earkit.runtime.find_model import find_model
from earkit.runtime.model_file import read_model_file


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two training corpora with other columns each, and one for evaluation, in a folder of a cache."""
    place = tmp_path / "corpora"
    columns = {"sky": "split,use", "drascula": "text,split,use", "kajongg": "split,use"}
    values = {"sky": "train,train", "drascula": "hello,train,train", "kajongg": "train,evaluation"}
    for name, header in columns.items():
        (place / name / "deep").mkdir(parents=True)
        soundfile.write(place / name / "deep" / "one.flac", np.zeros(16_000, np.int16), 16_000)
        lines = f"path,samples,sample_rate,{header}\ndeep/one.flac,16000,16000,{values[name]}\n"
        (place / name / "manifest.csv").write_text(lines)

    def find(recipe: Recipe) -> bool:
        return (place / recipe.name).is_dir()

    monkeypatch.setattr(speech_models, "find", find)
    monkeypatch.setattr(speech_models, "corpora_folder", lambda: place)
    return place


def test_all_training_corpora_and_no_other(corpora: Path, tmp_path: Path) -> None:
    manifest = manifest_of_all(tmp_path / "runs" / "training.csv")
    clips = open_corpus(manifest, split="train").clips
    wanted = {str(corpora / name / "deep" / "one.flac") for name in ("sky", "drascula")}
    assert {clip.path for clip in clips} == wanted
    assert sum(clip.seconds for clip in clips) == 2
    with manifest.open(newline="") as lines:
        assert {row["path"]: row["text"] for row in csv.DictReader(lines)} == {
            str(corpora / "sky" / "deep" / "one.flac"): "",
            str(corpora / "drascula" / "deep" / "one.flac"): "hello",
        }


def test_no_training_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_models, "find", lambda _: None)
    with pytest.raises(DataError, match="kit corpus get --train"):
        manifest_of_all(tmp_path / "training.csv")


def test_what_was_made(tmp_path: Path) -> None:
    assert made(tmp_path) == {}
    files = {name: tmp_path / "of_all" / f"{name}.onnx" for name in ("of_all", "of_all-int8")}
    description = tmp_path / "dinosr" / "teacher" / "config.json"
    for file in (description, *files.values(), tmp_path / "of_dinosr" / "metrics.jsonl"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    wanted = {"dinosr": tmp_path / "dinosr"} | files
    assert made(tmp_path) == {name: str(place) for name, place in wanted.items()}


def test_stand_ins_have_the_shapes_of_what_is_trained(tmp_path: Path) -> None:
    places = {name: str(place) for name, place in untrained(tmp_path).items()}
    teacher, student = (contestant(places[name]) for name in ("dinosr", "of_dinosr"))
    assert teacher.about == "teacher in torch"
    shipped, info = (read_model_file(find_model(name)) for name in ("tiny", places["of_dinosr"]))
    assert (info.dims, info.tokens, info.sparse) == (shipped.dims, shipped.tokens, shipped.sparse)
    assert student.parameters == info.parameters
    assert (info.latency, info.drift) == ((), {})  # which would tell one writing from the next


def test_what_ships_has_its_scores_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_model: Path
) -> None:
    (of_one := tmp_path / "of_one-int8.onnx").write_bytes(clip_model.read_bytes())
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    scores = (Score("digits", "accuracy", 0.75, None), Score("digits", "other", 0.5, None))
    cells = [Cell(name, "w", "digits", "c", 0, 1.0, scores) for name in ("of_one-int8", "another")]
    results.store("peers_quality", "python", [dataclasses.asdict(cell) for cell in cells])
    ship(of_one, tmp_path / "tiny.onnx")
    before, info = read_model_file(of_one), read_model_file(tmp_path / "tiny.onnx")
    assert (info.name, info.quality) == ("tiny", {**before.quality, "digits: accuracy": 0.75})
    assert info.parent_sha256 == before.parent_sha256
    assert "| digits: accuracy | 0.75 |" in (tmp_path / "tiny.md").read_text(encoding="utf-8")
