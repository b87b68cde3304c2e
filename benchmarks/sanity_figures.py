"""Known figures of pretrained peers, measured again: whether the whole chain does what it did elsewhere.

    python -m earkit.benchmarks.sanity_figures

Fetch the peers first: `python -m earkit.benchmarks.peers get speech_embedding moonshine ecapa`.

English words of kajongg: frames averaged over four stretches, vectors standardised for each voice (and, to
compare, over all voices alike), the nearest by cosine of the other voices' words. Speakers of speakerbox: the
nearest segment by cosine of the other meetings, for all segments and for those of 1.5 s or more.

The known figures of log-mel and moonshine are met when vectors are standardised over all voices; for each
voice, both do better. That of speech_embedding is met for each voice (0.863) with half a window of silence on
both sides of a word, where the teacher's description puts enough for a frame at every hop.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from earkit.benchmarks.clip_vectors import EMBEDDING, clip_vectors, standardised_by
from earkit.benchmarks.representations import Array, load
from earkit.benchmarks.results import store
from earkit.benchmarks.retrieval import per_query
from earkit.benchmarks.tasks.manifest_rows import audio, column, corpus_rows
from earkit.distill.data.manifests import Row
from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import EarkitError

NAME = "sanity_figures"
COMMAND = "python -m earkit.benchmarks.sanity_figures"
WORDS = {"log-mel": 0.23, "speech_embedding": 0.86, "moonshine": 0.92}
SPEAKERS = {"ecapa": 1.00}
LONG = 1.5  # seconds


def words(peer: str) -> dict[str, float]:
    """Share of words whose nearest neighbour among other voices is the same word, by standardisation."""
    rows = [row for row in corpus_rows("kajongg") if row.labels["language"] == "en"]
    vectors, voices, said = _vectors(peer, rows), column(rows, "speaker"), column(rows, "label")
    over = {"standardised by voice": voices, "standardised over all": np.full(len(rows), "all")}
    return {
        how: float(per_query(standardised_by(vectors, groups), said, voices).first.mean())
        for how, groups in over.items()
    }


def speakers(peer: str) -> dict[str, float]:
    """Share of segments whose nearest neighbour in other meetings is of the same speaker, by length."""
    rows = corpus_rows("speakerbox")
    found = per_query(_vectors(peer, rows), column(rows, "speaker"), column(rows, "session"))
    seconds = np.array([(rows[i].frames or 0) / SAMPLE_RATE for i in found.query])
    return {
        "all segments": float(found.first.mean()),
        f"of {LONG:g} s or more": float(found.first[seconds >= LONG].mean()),
    }


def _vectors(peer: str, rows: list[Row]) -> Array:
    """Embed clips, or average the last layer over four stretches."""
    made = clip_vectors(load(peer), map(audio, rows))
    return made[EMBEDDING] if EMBEDDING in made else list(made.values())[-1]


def figures() -> Iterator[dict[str, Any]]:
    """Measure each figure that is known."""
    for corpus, known, measure in (("kajongg", WORDS, words), ("speakerbox", SPEAKERS, speakers)):
        for peer, expected in known.items():
            measured = {how: round(value, 4) for how, value in measure(peer).items()}
            yield {"peer": peer, "corpus": corpus, "expected": expected, **measured}


def main() -> None:
    """Measure, print and store."""
    rows = []
    try:
        for row in figures():
            rows.append(row)
            print(row, flush=True)
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(store(NAME, COMMAND, rows))


if __name__ == "__main__":
    main()
