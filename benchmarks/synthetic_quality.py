"""Anyone on the embedded synthetic speech, in minutes: nothing is fetched, and nothing is stored.

    python -m earkit.benchmarks.synthetic_quality [MODEL|TEACHER|PEER|FLOOR ...] [--seed 0]

Without a name, the floors and the models that come with earkit. Phones and words are linear probes of frozen
frames; word retrieval and speakers are of the embedding, or of four stretches of the last
layer where there is none. All is on speakers never heard, and synthetic speech is easy: what is broken shows,
and little else.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.clip_vectors import clip_vectors
from earkit.benchmarks.probes import FRAME, HALF_WINDOW, Featurise
from earkit.benchmarks.representations import FLOORS, Array, Representation, load
from earkit.benchmarks.tasks.phones import at_points
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.errors import EarkitError
from earkit.runtime.find_model import built_in
from earkit.runtime.text_table import NOTHING, text_table

FIGURES = {
    "phones": "phones",
    "words": "words",
    "word_1nn": "word retrieval",
    "word_map": "MAP",
    "speaker": "speakers",
}


def scores(representation: Representation, manifest: Path, seed: int) -> dict[str, float]:
    """Score what there is: probes only of frames."""
    found = bench.probes(manifest, on_grid(representation), seed) if representation.frames else {}
    vectors = {
        "words": _vectors(representation, [word.samples for word in bench.test_words(manifest)]),
        "utterances": _vectors(representation, [each.samples for each in bench.test_utterances(manifest)]),
    }
    return found | bench.embedding_scores(vectors, manifest, seed)


def on_grid(representation: Representation) -> Featurise:
    """Give frames where the probes have their labels; a longer frame answers more than once."""
    make = representation.frames
    assert make is not None

    def featurise(samples: Array) -> Mapping[str, Array]:
        places = np.arange(HALF_WINDOW, len(samples) - HALF_WINDOW + 1, FRAME)
        return {layer: at_points(representation, frames, places) for layer, frames in make(samples).items()}

    return featurise


def _vectors(representation: Representation, clips: Sequence[Array]) -> Array:
    return list(clip_vectors(representation, clips).values())[-1]


def main() -> None:
    """Score, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL|TEACHER|PEER|FLOOR")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines = [("", *FIGURES.values())]
    try:
        for name in given.models or [*FLOORS, *built_in()]:
            print(name, file=sys.stderr, flush=True)
            # Matrices this small gain nothing by threads, which wait in loops where the cores are busy.
            with threadpool_limits(1):
                found = scores(load(name), default_corpus(), given.seed)
            lines.append((name, *(f"{found[key]:.1%}" if key in found else NOTHING for key in FIGURES)))
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(text_table(lines))


if __name__ == "__main__":
    main()
