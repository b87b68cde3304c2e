"""Which of seven languages is spoken, in packages that were not trained on.

Three sets of packages take turns as the test; a voice is in one set only. All is cut off at 3.4 kHz, as some
sources are: else a head would learn their bandwidth. Most of these clips are also those that students of ours
were distilled on, without labels; peers may not have heard them.
"""

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from earkit.benchmarks.tasks.classification import Classification
from earkit.benchmarks.tasks.manifest_rows import label
from earkit.benchmarks.tasks.task import Split, Task, leave_one_out
from earkit.distill.data.augment import limit_band
from earkit.distill.data.manifests import Row
from earkit.runtime.audio import SAMPLE_RATE, Samples

LANGUAGES = ("da", "de", "es", "fr", "it", "nl", "ru")
OWN_SET = ("tuxpaint-stamps-default", "ktuberling-data")
OTHERS = "professionals and games"
MOST = 40  # clips of a package and language
LEAST_SECONDS = 0.5
CUT_OFF = 3400.0  # Hz


def package_set(row: Row) -> str:
    """Name the set that a clip's package is in."""
    package = label(row, "package")
    return package if package in OWN_SET else OTHERS


def _source(row: Row) -> str:
    return f"{label(row, 'package')} {label(row, 'language')}"


def select(rows: Sequence[Row]) -> list[Row]:
    """Take clips of these languages, at most `MOST` of a source, by a checksum of their sound."""
    taken: Counter[str] = Counter()
    chosen = []
    for row in sorted(rows, key=lambda row: zlib.crc32(label(row, "sha256").encode())):
        long_enough = row.frames is None or row.frames >= LEAST_SECONDS * SAMPLE_RATE
        if label(row, "language") in LANGUAGES and long_enough and taken[_source(row)] < MOST:
            taken[_source(row)] += 1
            chosen.append(row)
    return chosen


def splits(rows: Sequence[Row]) -> list[Split]:
    """Leave one set of packages out, and test what is in a language that the others speak."""
    languages = np.array([label(row, "language") for row in rows])
    return [
        Split(
            split.name,
            split.train,
            split.test[np.isin(languages[split.test], languages[split.train])],
            split.inner,
        )
        for split in leave_one_out([package_set(row) for row in rows])
    ]


def _narrow(samples: Samples) -> Samples:
    return limit_band(samples, 0.0, CUT_OFF)


TASK = Task(
    "language_identification",
    "seven languages across sets of packages",
    (
        "tuxpaint",
        "ktuberling",
        "asterisk-core",
        "asterisk-prompts",
        "fillets",
        "games",
        "kajongg",
        "festvox-ru",
    ),
    ("sha256", "speaker", "package"),
    select,
    splits,
    Classification(
        "language_identification",
        splits,
        lambda row: label(row, "language"),
        _source,
        "sources",
        balanced=True,
        prepare=_narrow,
    ),
)
