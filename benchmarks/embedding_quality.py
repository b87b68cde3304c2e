"""Short vectors of one student: Matryoshka prefixes and CSR codes against what one would do without them.

    python -m earkit.benchmarks.embedding_quality [--seeds 3] [--steps 300]

Word retrieval across speakers never heard (the share of words whose nearest neighbour among other speakers is
the same word, and mean average precision) at equal bytes per vector: prefixes of the default student, which
trains them; prefixes and principal components (fitted on cuts of training speech) of the same student trained
at full width alone; and CSR codes of the default student from the `sparse` stage.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earkit.benchmarks import distilled as bench
from earkit.benchmarks.compact_vectors import Candidate, compared, pca, sparse, truncated
from earkit.benchmarks.results import Cells
from earkit.benchmarks.retrieval import Vectors
from earkit.distill.data.corpus import open_corpus
from earkit.distill.distilled import DistilledStudent
from earkit.distill.spans import SpanConfig
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.runtime.audio import SAMPLE_RATE

NAME = "embedding_quality"
DIMS = (32, 64, 128, 256)
UNTRAINED = (8, 16)
"""Dims shorter than any that is trained, to stand beside the shortest codes."""
CODES = (8, 16, 32, 64)


def candidates(
    nested: DistilledStudent, ordinary: DistilledStudent, coded: DistilledStudent, manifest: Path
) -> Iterator[Candidate]:
    """Vectors of the test words, in every way."""
    clips = [word.samples for word in bench.test_words(manifest)]
    trained, plain = bench.embeddings(nested, clips), bench.embeddings(ordinary, clips)
    fitted = bench.embeddings(ordinary, cuts(manifest))
    for dim in DIMS:
        yield Candidate("matryoshka", "float16", dim, truncated(trained, dim))
        yield Candidate("matryoshka", "int8", dim, truncated(trained, dim))
        yield Candidate("ordinary, truncated", "float16", dim, truncated(plain, dim))
        yield Candidate("ordinary, PCA", "float16", dim, pca(fitted, plain, dim))
    for dim in UNTRAINED:
        yield Candidate("matryoshka, cut below its dims", "float16", dim, truncated(trained, dim))
        yield Candidate("matryoshka, cut below its dims", "int8", dim, truncated(trained, dim))
        yield Candidate("ordinary, PCA", "float16", dim, pca(fitted, plain, dim))
    dense = torch.from_numpy(bench.embeddings(coded, clips))
    made = {k: codes(coded, dense, k) for k in CODES}
    for k, rows in made.items():
        yield Candidate("csr", "sparse", k, rows)
        if k < CODES[-1]:
            yield Candidate(f"csr, queries of {CODES[-1]}", "sparse", k, rows, made[CODES[-1]])


def codes(coded: DistilledStudent, dense: torch.Tensor, k: int) -> Vectors:
    """Give sparse codes with their zeros."""
    assert coded.sparse is not None
    with torch.inference_mode():
        indices, values = coded.sparse.encode(dense, k)
    return sparse(indices.numpy(), values.numpy(), coded.sparse.config.width)


def cuts(manifest: Path, clips: int = 600) -> list[bench.Array]:
    """Cut the speech of the training speakers as training does: what an index could be fitted on."""
    rng, config, found = np.random.default_rng(0), SpanConfig(), []
    corpus = open_corpus(manifest, split="train").clips
    for i in rng.permutation(len(corpus))[:clips]:
        samples = np.asarray(corpus[i].read().samples)
        for seconds in np.exp(rng.uniform(np.log(config.min_seconds), np.log(config.max_seconds), 6)):
            length = min(int(seconds * SAMPLE_RATE), len(samples))
            start = int(rng.integers(len(samples) - length + 1))
            found.append(samples[start : start + length])
    return found


def measure(folder: Path, seed: int, manifest: Path, steps: int) -> list[dict[str, Any]]:
    """Train what is missing for one seed, and compare."""
    teacher = str(bench.teacher_run(folder, seed, manifest))
    nested = bench.default_run(folder, seed, manifest, steps)
    narrow = [f"steps={steps}", "matryoshka.dims=[256]"]
    ordinary = bench.student_run(folder, "ordinary", seed, manifest, teachers=[teacher], overrides=narrow)
    coded = bench.student_run(
        folder, "sparse", seed, manifest, teachers=[], recipe="sparse", start=str(nested)
    )
    made = candidates(bench.load(nested), bench.load(ordinary), bench.load(coded), manifest)
    rows = compared(list(made), *bench.word_labels(manifest))
    return [{"seed": seed, **row} for row in rows]


def main() -> None:
    """Measure every seed that is missing."""
    given = bench.options(__doc__, seeds=3).parse_args()
    manifest = default_corpus()
    cells = Cells(NAME, steps=given.steps, student="tiny")
    for seed in range(given.seeds):
        if not cells.find(seed=seed):
            cells.keep(measure(given.runs, seed, manifest, given.steps))


if __name__ == "__main__":
    main()
