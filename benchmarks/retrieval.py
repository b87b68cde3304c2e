"""What a vector knows, without training it further: the same word of another speaker, and the speaker.

Cosines decide. Equal ones, which coarse vectors have many of, count as their expectation over all orders:
a representation neither gains nor loses by the order of the corpus.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from earkit.benchmarks.unit_length import unit_length
from earkit.runtime.errors import DataError

Vectors = NDArray[np.float32]
Labels = NDArray[np.str_]
Scores = NDArray[np.float64]
Indices = NDArray[np.int64]

REGULARISATION = (0.001, 0.01, 0.1, 1.0, 10.0)
CHUNK = 256  # queries at a time

_DIGITS = 10  # cosines in float64 that agree so far are equal: the order of a sum decides on the rest


@dataclass(frozen=True)
class Retrieval:
    """Means over the queries that can be answered: those whose word another speaker says, too."""

    first: float
    """Share whose nearest neighbour among the other speakers' tokens has the same label."""
    precision: float
    """Mean average precision over the other speakers' tokens."""
    queries: int


@dataclass(frozen=True)
class PerQuery:
    """Scores of single queries, each (queries,); `query` says which rows of the vectors they are."""

    query: Indices
    first: Scores
    precision: Scores


@dataclass(frozen=True)
class Identification:
    """Closed-set speaker identification: `correct` (queries,) tells of the rows `query`."""

    accuracy: float
    regularisation: float
    query: Indices
    correct: Scores


def retrieval(
    vectors: Vectors, labels: Labels, speakers: Labels, queries: Vectors | None = None
) -> Retrieval:
    """Let each vector, or its query, search among the vectors of the other speakers. Both are (n, dim)."""
    each = per_query(vectors, labels, speakers, queries)
    return Retrieval(float(each.first.mean()), float(each.precision.mean()), len(each.query))


def per_query(vectors: Vectors, labels: Labels, speakers: Labels, queries: Vectors | None = None) -> PerQuery:
    """Score every query that can be answered, for intervals and for pairwise comparison."""
    unit = _unit(vectors)
    asked = unit if queries is None else _unit(queries)
    label = np.unique(labels, return_inverse=True)[1]
    speaker = np.unique(speakers, return_inverse=True)[1]
    parts = []
    for begin in range(0, len(unit), CHUNK):
        rows = np.arange(begin, min(begin + CHUNK, len(unit)))
        foreign = speaker[rows, None] != speaker
        relevant = foreign & (label[rows, None] == label)
        answerable = relevant.any(axis=1)
        rows, foreign, relevant = rows[answerable], foreign[answerable], relevant[answerable]
        cosines = np.where(foreign, _cosines(asked[rows], unit), -np.inf)
        parts.append(PerQuery(rows, *_expected(cosines, relevant)))
    if not sum(len(part.query) for part in parts):
        raise DataError("no label is said by two speakers, so nothing can be retrieved: give more speakers")
    return PerQuery(
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.precision for part in parts]),
    )


def _expected(cosines: Scores, relevant: NDArray[np.bool_]) -> tuple[Scores, Scores]:
    """Give the expected success of the first, and average precision, over all orders of equal cosines.

    Of a group of equal cosines with s members, r of them relevant, behind R relevant ones, the member at
    rank p and place i (from 0) in the group is relevant with probability r / s; then R + 1 + i (r - 1) /
    (s - 1) relevant ones stand at ranks up to p (McSherry and Najork 2008). All are (queries, n).
    """
    order = np.argsort(-cosines, axis=1)
    ranked = np.take_along_axis(cosines, order, axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    rank = np.arange(1, cosines.shape[1] + 1)
    begins, ends = np.ones_like(hits), np.ones_like(hits)
    begins[:, 1:] = ends[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    begin = np.maximum.accumulate(np.where(begins, rank, 0), axis=1)
    end = np.minimum.accumulate(np.where(ends, rank, len(rank))[:, ::-1], axis=1)[:, ::-1]
    so_far = np.pad(np.cumsum(hits, axis=1), ((0, 0), (1, 0)))  # relevant at ranks up to the column's index
    before = np.take_along_axis(so_far, begin - 1, axis=1)
    inside: Indices = np.take_along_axis(so_far, end, axis=1) - before
    size = end - begin + 1
    others = (rank - begin) * (inside - 1) / np.maximum(size - 1, 1)
    gain = inside / size * (before + 1 + others) / rank
    return (inside / size)[:, 0], gain.sum(axis=1) / hits.sum(axis=1)


def speaker_probe(vectors: Vectors, speakers: Labels, utterances: Labels, seed: int) -> Identification:
    """Tell the speakers by a logistic head, trained on half of each one's utterances, on the other half.

    An utterance, of which there may be several vectors, is on one side only. Half of the training half
    chooses the regularisation for the other half of it.
    """
    _unit(vectors)  # refuses what is not finite
    rng = np.random.default_rng(seed)
    fit, develop = np.zeros(len(vectors), bool), np.zeros(len(vectors), bool)
    for speaker in np.unique(speakers):
        own = rng.permutation(np.unique(utterances[speakers == speaker]))
        if len(own) < 4:
            raise DataError(
                f"the speaker {speaker} has {len(own)} utterances: a speaker probe needs 4 or more of each"
            )
        half, quarter = len(own) // 2, len(own) // 4
        is_own = speakers == speaker
        develop |= is_own & np.isin(utterances, own[:quarter])
        fit |= is_own & np.isin(utterances, own[quarter:half])

    def score(regularisation: float) -> float:
        head = _head(vectors[fit], speakers[fit], regularisation)
        return float(head.score(vectors[develop], speakers[develop]))

    regularisation = max(REGULARISATION, key=score)
    train = fit | develop
    head = _head(vectors[train], speakers[train], regularisation)
    query = np.flatnonzero(~train)
    correct = (head.predict(vectors[query]) == speakers[query]).astype(np.float64)
    return Identification(float(correct.mean()), regularisation, query, correct)


def one_shot_speakers(vectors: Vectors, speakers: Labels, seed: int, draws: int = 50) -> float:
    """Tell the speakers by the nearest of one known utterance of each; the mean over random choices of those.

    One vector for each utterance: with several, the known one would be found again.
    """
    unit = _unit(vectors)
    cosines = _cosines(unit, unit)
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(speakers == speaker) for speaker in np.unique(speakers)]
    if min(map(len, members)) < 2:
        raise DataError("a speaker with one utterance cannot be known and sought: give at least two of each")
    accuracies = []
    for _ in range(draws):
        known = np.array([rng.choice(own) for own in members])
        sought = np.delete(np.arange(len(vectors)), known)
        to_known = cosines[np.ix_(sought, known)]
        nearest = to_known == to_known.max(axis=1, keepdims=True)
        right = nearest & (speakers[sought, None] == speakers[known])
        accuracies.append((right.sum(axis=1) / nearest.sum(axis=1)).mean())
    return float(np.mean(accuracies))


def _unit(vectors: Vectors) -> Scores:
    """Rows of length 1 in float64; a row of zeros stays, and has a cosine of 0 with everything."""
    exact = vectors.astype(np.float64)
    if not np.isfinite(exact).all():
        rows = int((~np.isfinite(exact).all(axis=1)).sum())
        raise DataError(f"{rows} of {len(exact)} vectors are not finite: look for the fault in their model")
    return unit_length(exact)


def _cosines(queries: Scores, unit: Scores) -> Scores:
    return np.round(queries @ unit.T, _DIGITS)


def _head(features: Vectors, labels: Labels, regularisation: float) -> Pipeline:
    logistic = LogisticRegression(C=regularisation, max_iter=1000)
    return make_pipeline(StandardScaler(), logistic).fit(features, labels)
