"""festvox-ru: the recordings behind a Russian voice of the Festival synthesizer.

`wav/ru_0001.wav`, 16 kHz, one speaker. `lab/ru_0001.lab` has a line `#`, then `END ANY PHONE` for each
phone, END in seconds; phones follow each other without gaps from 0 on. `etc/txt.done.data` has a line `(
ru_0001 "text" )` for each sentence; a `+` in it follows a stressed vowel.
"""

import re
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import SAMPLE_RATE, read
from earkit.runtime.errors import DataError

_VOICE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
_SENTENCE = re.compile(r'^\( *(\S+) +"(.*)" *\)\s*$', re.MULTILINE)


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every sentence with its phones."""
    root = folders["festvox-ru"] / _VOICE
    texts = dict(_SENTENCE.findall((root / "etc/txt.done.data").read_text(encoding="utf-8")))
    for path in sorted((root / "wav").glob("*.wav")):
        yield Sound(
            path.stem,
            "festvox-ru",
            partial(read, path),
            language="ru",
            speaker="festvox-ru-nsh",
            text=texts.get(path.stem, ""),
            phones=phones(root / "lab" / f"{path.stem}.lab"),
            split=_split(path.stem),
        )


def phones(labels: Path) -> str:
    """Read a label file: `label:start:end` in samples, one after the other."""
    spans, start = [], 0
    for line in labels.read_text(encoding="utf-8").splitlines()[1:]:
        try:
            end, _, phone = line.split()
            stop = round(float(end) * SAMPLE_RATE)
        except ValueError as error:
            raise DataError(f"{labels} has the line {line!r} where END NUMBER PHONE belongs") from error
        spans.append(f"{phone}:{start}:{stop}")
        start = stop
    return " ".join(spans)


def _split(sentence: str) -> str:
    """Take a fifth for the test and a tenth for development; a checksum decides, not the order."""
    tenth = zlib.crc32(sentence.encode()) % 10
    return "test" if tenth < 2 else "development" if tenth == 2 else "train"


RECIPE = Recipe(
    name="festvox-ru",
    about="620 Russian sentences with phone labels: frame phone classification",
    use="evaluation",
    sources=(
        Source(
            Package("apt", "festvox-ru", "0.5+dfsg-6"),
            "21ef3f0f2978ecf2e2eddb367cb0ff4a72572196d28dc69feb84f4177af5e6c4",
            "BSD-like (Shmyrev 2005)",
        ),
    ),
    sounds=sounds,
    hours=1.66,
)
