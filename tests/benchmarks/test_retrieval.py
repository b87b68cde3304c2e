"""Retrieval against slow definitions, sorted lists and every order of equal cosines; and leaks would show."""

from itertools import groupby, permutations, product

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from earkit.benchmarks import retrieval as module
from earkit.benchmarks.retrieval import one_shot_speakers, per_query, retrieval, speaker_probe
from earkit.runtime.errors import DataError


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return round(float(a @ b) / lengths, 9) if lengths else 0.0


def by_every_order(
    vectors: np.ndarray, labels: np.ndarray, speakers: np.ndarray, query: int
) -> tuple[float, float]:
    """Mean over all orders that cosine leaves open, of the first's success and of the average precision."""
    found = [
        (cosine(vectors[query], vectors[i]), bool(labels[i] == labels[query]))
        for i in range(len(vectors))
        if speakers[i] != speakers[query]
    ]
    found.sort(key=lambda pair: -pair[0])
    groups = [
        list(permutations(hit for _, hit in group)) for _, group in groupby(found, lambda pair: pair[0])
    ]
    firsts, precisions = [], []
    for order in product(*groups):
        hits = np.array([hit for part in order for hit in part])
        firsts.append(float(hits[0]))
        precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return float(np.mean(firsts)), float(np.mean(precisions))


def test_equal_cosines_count_as_the_mean_over_their_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    rng = np.random.default_rng(0)
    for _ in range(6):
        vectors = rng.integers(-1, 2, (9, 2)).astype(np.float32)
        labels, speakers = rng.choice(["a", "b"], 9), np.array(["x", "y", "z"] * 3)
        each = per_query(vectors, labels, speakers)
        expected = [by_every_order(vectors, labels, speakers, query) for query in each.query]
        np.testing.assert_allclose(np.stack([each.first, each.precision], 1), expected, atol=1e-12)


def test_without_ties_it_is_sklearns_average_precision() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    labels, speakers = rng.choice(list("abcd"), 60), rng.choice(list("xyz"), 60)
    each = per_query(vectors, labels, speakers)
    assert each.query.tolist() == list(range(60))
    for query, first, precision in zip(each.query, each.first, each.precision, strict=True):
        others = np.flatnonzero(speakers != speakers[query])
        cosines = np.array([cosine(vectors[query], vectors[i]) for i in others])
        relevant = labels[others] == labels[query]
        assert precision == pytest.approx(average_precision_score(relevant, cosines))
        assert first == relevant[cosines.argmax()]
    whole = retrieval(vectors, labels, speakers)
    assert (whole.first, whole.precision) == (each.first.mean(), each.precision.mean())


def test_length_order_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.choice([-1, 1], (50, 12)).astype(np.float32)
    labels, speakers = rng.choice(list("abc"), 50), rng.choice(list("xyz"), 50)
    plain = retrieval(vectors, labels, speakers)
    order = rng.permutation(50)
    monkeypatch.setattr(module, "CHUNK", 7)
    scaled = retrieval(
        (vectors * rng.uniform(0.1, 9, (50, 1)))[order].astype(np.float32), labels[order], speakers[order]
    )
    assert (scaled.first, scaled.precision) == pytest.approx((plain.first, plain.precision), abs=1e-12)


def test_the_own_speaker_and_unanswerable_queries_do_not_count() -> None:
    """Both tokens of x are one vector, and would find each other; b is said by x alone."""
    vectors = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], np.float32)
    labels, speakers = np.array(["a", "b", "c", "a"]), np.array(["x", "x", "y", "y"])
    scores = retrieval(vectors, labels, speakers)
    assert scores.queries == 2  # a of x, and a of y
    # a of x: c at 0.6 comes before a at 0: precision 1/2. a of y: x's a and b tie at 0: (1 + 1/2) / 2.
    assert scores.first == pytest.approx((0 + 1 / 2) / 2)
    assert scores.precision == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_a_collapsed_representation_scores_as_chance() -> None:
    labels, speakers = np.array(list("aabbccdd")), np.array(list("xyxyxyxy"))
    assert retrieval(np.ones((8, 3), np.float32), labels, speakers).first == pytest.approx(1 / 4)
    assert retrieval(np.zeros((8, 3), np.float32), labels, speakers).first == pytest.approx(1 / 4)


def test_nothing_to_retrieve_and_vectors_that_are_not_finite() -> None:
    with pytest.raises(DataError, match="no label is said by two speakers"):
        retrieval(np.eye(2, dtype=np.float32), np.array(["a", "b"]), np.array(["x", "y"]))
    with pytest.raises(DataError, match="1 of 2 vectors are not finite"):
        retrieval(np.array([[1, np.nan], [1, 0]], np.float32), np.array(["a", "a"]), np.array(["x", "y"]))


def voices(utterances: int, each: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Speakers and utterance names of five speakers."""
    names = [(f"s{s}", f"u{u}") for s in range(5) for u in range(utterances) for _ in range(each)]
    return np.array([s for s, _ in names]), np.array([u for _, u in names])


def test_a_speaker_that_is_there_is_found() -> None:
    speakers, utterances = voices(8)
    rng = np.random.default_rng(0)
    vectors = (np.eye(5)[np.unique(speakers, return_inverse=True)[1]] + rng.normal(0, 0.1, (40, 5))).astype(
        "f4"
    )
    found = speaker_probe(vectors, speakers, utterances, seed=0)
    assert found.accuracy == 1
    assert len(found.query) == 20
    assert all((speakers[found.query] == s).sum() == 4 for s in set(speakers))


def test_an_utterance_is_on_one_side_only() -> None:
    """Vectors that name the utterance and nothing else: with a leak, everything would be known."""
    speakers, utterances = voices(40, each=3)
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.standard_normal((200, 64)), 3, axis=0).astype(np.float32)
    found = speaker_probe(vectors, speakers, utterances, seed=0)
    assert found.accuracy < 0.35
    assert found.accuracy == found.correct.mean()
    known = {(s, u) for s, u in zip(speakers, utterances, strict=True)}
    asked = {(speakers[i], utterances[i]) for i in found.query}
    assert len(known) == 200
    assert len(asked) == 100
    assert len(found.query) == 300


def test_the_answered_half_does_not_choose_the_regularisation() -> None:
    speakers, utterances = voices(12)
    rng = np.random.default_rng(3)
    vectors = (np.eye(5)[np.unique(speakers, return_inverse=True)[1]] + rng.normal(0, 0.6, (60, 5))).astype(
        "f4"
    )
    fair = speaker_probe(vectors, speakers, utterances, seed=0)
    disturbed = vectors.copy()
    disturbed[fair.query] = rng.standard_normal((len(fair.query), 5))
    after = speaker_probe(disturbed, speakers, utterances, seed=0)
    assert after.regularisation == fair.regularisation
    assert after.accuracy < fair.accuracy - 0.2


def test_too_few_utterances() -> None:
    speakers, utterances = voices(3)
    with pytest.raises(DataError, match="s0 has 3 utterances: a speaker probe needs 4"):
        speaker_probe(np.ones((15, 2), np.float32), speakers, utterances, seed=0)


def test_one_shot_against_all_choices_of_the_known() -> None:
    """Two speakers with three utterances: the mean over all nine choices, and over many draws of them."""
    vectors = np.random.default_rng(5).standard_normal((6, 2)).astype(np.float32)
    speakers = np.array(list("xxxyyy"))
    accuracies = []
    for known in product(range(3), range(3, 6)):
        sought = [i for i in range(6) if i not in known]
        nearest = [max(known, key=lambda k: cosine(vectors[i], vectors[k])) for i in sought]
        accuracies.append(np.mean([speakers[i] == speakers[k] for i, k in zip(sought, nearest, strict=True)]))
    assert 0 < np.mean(accuracies) < 1
    found = one_shot_speakers(vectors, speakers, seed=0, draws=4000)
    assert found == pytest.approx(np.mean(accuracies), abs=0.02)
    assert one_shot_speakers(np.ones((6, 2), np.float32), speakers, seed=0) == pytest.approx(1 / 2)


def test_one_shot_needs_a_second_utterance() -> None:
    with pytest.raises(DataError, match="at least two of each"):
        one_shot_speakers(np.eye(3, dtype=np.float32), np.array(["x", "x", "y"]), seed=0)


def test_queries_of_another_kind() -> None:
    """Each query, not its own vector, decides; its length does not matter."""
    vectors = np.array([[1, 0], [0, 1], [1, 0.1], [0.1, 1]], np.float32)
    labels, speakers = np.array(["a", "b", "a", "b"]), np.array(["x", "x", "y", "y"])
    assert retrieval(vectors, labels, speakers).first == 1
    assert retrieval(vectors, labels, speakers, 7 * vectors).first == 1
    queries = vectors.copy()
    queries[0] = [0, 5]  # asks for a b, and gets one
    assert retrieval(vectors, labels, speakers, queries).first == 3 / 4
