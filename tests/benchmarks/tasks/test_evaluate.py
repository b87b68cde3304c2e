"""Every task finds what is there, does not find what is not, and says what it chose."""

from collections.abc import Callable

import numpy as np
import pytest

from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks import units
from earkit.benchmarks.tasks.evaluate import TASKS, choose, evaluate
from earkit.benchmarks.tasks.task import Task
from earkit.runtime.errors import ConfigError, DataError

Scored = Callable[[Task, Representation], dict[str, float]]

CLIPS = [
    "speaker_identification",
    "digits",
    "language_identification",
    "character_identification",
    "instruments",
]
pytestmark = pytest.mark.usefixtures("corpora")


@pytest.mark.parametrize("name", [*CLIPS, "phone_classification"])
def test_an_oracle_is_right_and_its_layer_is_chosen(name: str, oracle: Representation) -> None:
    (score,) = evaluate(oracle, choose([name]), seed=0)
    assert score.value > 0.99
    assert score.interval is not None
    assert 0.95 < score.interval[0] <= score.interval[1] == 1
    assert score.hyper_parameters.keys() == {split.name for split in TASKS[name].splits(rows(name))}
    assert all(chosen.startswith("knows") for chosen in score.hyper_parameters.values())
    assert all(
        ", C 0.0" in chosen or ", C 0.1" in chosen or ", C 1" in chosen
        for chosen in score.hyper_parameters.values()
    )
    assert score.counts[score.resampled] > 1


def rows(name: str) -> list:
    from earkit.benchmarks.tasks.evaluate import task_rows

    return task_rows(TASKS[name])


@pytest.mark.parametrize("name", CLIPS)
def test_an_embedding_is_taken_where_there_is_one(name: str, embedder: Representation) -> None:
    (score,) = evaluate(embedder, choose([name]), seed=0)
    assert score.value > 0.99
    assert all(chosen.startswith("embedding, C ") for chosen in score.hyper_parameters.values())


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("speaker_identification", 0.65),
        ("digits", 0.55),
        ("language_identification", 0.55),
        ("character_identification", 0.65),
        ("instruments", 0.75),
        ("phone_classification", 0.4),
    ],
)
def test_who_guesses_is_wrong(name: str, most: float, guesser: Representation, scored: Scored) -> None:
    (value,) = scored(TASKS[name], guesser).values()
    assert value < most


def test_words_are_retrieved(oracle: Representation, guesser: Representation, scored: Scored) -> None:
    known, guessed = (scored(TASKS["word_retrieval"], each) for each in (oracle, guesser))
    assert known.keys() == {f"{what}, {of}" for what in ("1-NN", "MAP", "1-NN, as is") for of in ("de", "en")}
    assert set(known.values()) == {1.0}
    assert max(guessed.values()) < 0.5
    for score in evaluate(oracle, [TASKS["word_retrieval"]], seed=0):
        assert next(iter(score.hyper_parameters.values())).startswith("knows")


def test_queries_are_found_by_warping_and_by_windows(
    oracle: Representation, embedder: Representation, guesser: Representation, scored: Scored
) -> None:
    assert set(scored(TASKS["query_by_example"], oracle).values()) == {1.0}
    assert scored(TASKS["query_by_example"], embedder)["found, en"] > 0.95
    assert scored(TASKS["query_by_example"], guesser)["found, en"] < 0.55
    chosen = [s.hyper_parameters for s in evaluate(oracle, [TASKS["query_by_example"]], seed=0)]
    assert chosen[0] == {"de": "knows, warping"}


@pytest.mark.parametrize("name", ["word_abx", "triphone_abx"])
def test_abx(name: str, oracle: Representation, guesser: Representation, scored: Scored) -> None:
    assert max(scored(TASKS[name], oracle).values()) < 0.02
    assert min(scored(TASKS[name], guesser).values()) > 0.4


def test_units_of_tokens(oracle: Representation, monkeypatch: pytest.MonkeyPatch, scored: Scored) -> None:
    def tokens(samples: np.ndarray) -> np.ndarray:
        return np.round(samples[160::320] * 256).astype(np.int64)

    same = {"nothing": lambda samples, _: samples, "half": lambda samples, _: samples[: len(samples) // 2]}
    monkeypatch.setattr(units, "DISTURBANCES", same)
    found = scored(units.TASK, Representation("tokens", oracle.frames, 320, 160, tokens=tokens))
    assert (found["phone purity"], found["cluster purity"], found["PNMI"]) == pytest.approx((1, 1, 1))
    assert 3 < found["perplexity"] <= 4
    assert found["unit edit distance, nothing"] == 0
    assert found["unit edit distance, half"] == pytest.approx(0.5, abs=0.05)


def test_units_of_frames_are_clusters_of_the_best_layer(
    oracle: Representation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "DISTURBANCES", {})
    monkeypatch.setattr("earkit.benchmarks.tasks.kmeans_units.CLUSTERS", 8)
    scores = {score.metric: score for score in evaluate(oracle, [units.TASK], seed=0)}
    assert scores["PNMI"].value == pytest.approx(1, abs=0.01)
    assert scores["PNMI"].hyper_parameters == {"sentences": "knows, k-means of 8"}
    assert scores["PNMI"].interval[0] > 0.98


def test_label_free(oracle: Representation, embedder: Representation, scored: Scored) -> None:
    frames = scored(TASKS["label_free"], oracle)
    assert {"alignment", "uniformity", "RankMe of frames", "effective rank of frames"} <= frames.keys()
    # Words have eight codes, equally frequent in both languages: centred, seven dimensions are in use.
    assert frames["effective rank of frames"] == pytest.approx(7, abs=0.3)
    assert frames["RankMe of frames"] == pytest.approx(8, abs=0.3)
    vectors = scored(TASKS["label_free"], embedder)
    assert "RankMe of frames" not in vectors
    assert vectors["effective rank of clips"] == pytest.approx(7, abs=0.3)


def test_a_model_of_vectors_has_no_score_where_frames_are_asked_for(embedder: Representation) -> None:
    asked = choose(["phone_classification", "triphone_abx", "word_abx", "units"])
    assert evaluate(embedder, asked, seed=0) == []


@pytest.mark.parametrize("name", ["digits", "speaker_identification"])
def test_the_test_does_not_choose(name: str, oracle: Representation) -> None:
    """Spoil what is tested: the figure falls, and what was chosen stays."""
    task = TASKS[name]
    given = rows(name)
    split = task.splits(given)[0]
    spoiled = {len(read_clip(given[i])) for i in split.test}  # clips differ in length

    def frames(samples: np.ndarray) -> dict[str, np.ndarray]:
        made = oracle.frames(samples)
        return {k: np.roll(x, 1, axis=1) for k, x in made.items()} if len(samples) in spoiled else made

    (fair,), (after,) = (
        task.score(each, given, 0) for each in (oracle, Representation("spoiled", frames, 320, 160))
    )
    assert after.hyper_parameters[split.name] == fair.hyper_parameters[split.name]
    assert after.value < fair.value


def read_clip(row: object) -> np.ndarray:
    from earkit.benchmarks.tasks.manifest_rows import audio

    return audio(row)


def test_choosing_tasks() -> None:
    assert [task.name for task in choose(["digits", "word_retrieval"])] == ["word_retrieval", "digits"]
    assert choose([]) == list(TASKS.values())
    with pytest.raises(ConfigError, match="there is no task chess; choose among word_retrieval, "):
        choose(["chess"])


def test_a_missing_corpus_is_named(tmp_path, monkeypatch, embedder) -> None:
    monkeypatch.setenv("EARKIT_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="`kit corpus get kajongg`"):
        evaluate(embedder, choose(["word_retrieval"]), seed=0)
    with pytest.raises(DataError, match="`kit corpus get uqm --non-free`"):
        evaluate(embedder, choose(["character_identification"]), seed=0)


def test_what_is_done_is_said(embedder: Representation) -> None:
    said: list[str] = []
    evaluate(embedder, choose(["word_retrieval"]), seed=0, say=said.append)
    assert said == ["embedder: word_retrieval"]
