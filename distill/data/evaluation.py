"""Clips that only test: nothing that is reported or passed on may have learned from them.

The manifest of a corpus that is for evaluation says so in its column `use`. A clip of which that is not
known, as in a folder given without its manifest, is for evaluation if the manifest of a folder around it is.
"""

from pathlib import Path

from earkit.distill.data import manifests
from earkit.distill.data.corpus import MANIFESTS, Clip, Corpus
from earkit.runtime.errors import DataError

USE, EVALUATION = "use", "evaluation"


def is_evaluation(manifest: Path) -> bool:
    """Whether a manifest lists any clip for evaluation."""
    return any(row.labels.get(USE) == EVALUATION for row in manifests.rows(manifest, None))


def evaluation_clips(corpus: Corpus) -> list[Clip]:
    """Give the clips of a corpus that are for evaluation only."""
    known: dict[Path, bool] = {}
    return [
        clip
        for clip in corpus.clips
        if clip.labels.get(USE) == EVALUATION
        or (USE not in clip.labels and _is_within_evaluation(Path(clip.path).parent, known))
    ]


def refuse_evaluation(corpus: Corpus, *, allowed: bool) -> int:
    """Refuse to train on clips that are for evaluation; where that is allowed, count them for the record."""
    found = evaluation_clips(corpus)
    if found and not allowed:
        raise DataError(
            f"{corpus.source} holds {len(found)} clip(s) for evaluation only, first {found[0].name}: train "
            "on others, or give --allow-evaluation-data, which is recorded and spoils every figure on them"
        )
    return len(found)


def _is_within_evaluation(folder: Path, known: dict[Path, bool]) -> bool:
    """Whether this folder or one around it has such a manifest; `known` keeps the answers."""
    if folder not in known:
        known[folder] = any(
            is_evaluation(folder / name) for name in MANIFESTS if (folder / name).is_file()
        ) or (folder.parent != folder and _is_within_evaluation(folder.parent, known))
    return known[folder]
