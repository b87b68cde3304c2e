"""speakerbox: segments of council meetings, sorted by who speaks.

The wheel holds `diarized.zip`: `MEETING/SPEAKER/START-END.wav`, times in milliseconds of the meeting. It is
read in place; nothing in it is unpacked.
"""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.zipped import read_member
from earkit.benchmarks.packages import Package

_ARCHIVE = "speakerbox/tests/data/diarized.zip"


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every segment of every meeting."""
    archive = folders["speakerbox"] / _ARCHIVE
    with zipfile.ZipFile(archive) as opened:
        members = sorted(name for name in opened.namelist() if name.endswith(".wav"))
    for member in members:
        meeting, speaker, _ = PurePosixPath(member).parts
        yield Sound(
            member.removesuffix(".wav"),
            "speakerbox",
            partial(read_member, archive, member),
            language="en",
            speaker=f"speakerbox-{speaker}",
            session=meeting,
            label=speaker,
        )


RECIPE = Recipe(
    name="speakerbox",
    about="9 speakers in 5 council meetings: speaker identification across meetings",
    use="evaluation",
    sources=(
        Source(
            Package("pip", "speakerbox", "1.2.0"),
            "3582e080ed0ec423368199c60b6bf46c9a68a71cc98dd19411265735b14fe951",
            "MIT",
        ),
    ),
    sounds=sounds,
    hours=0.32,
)
