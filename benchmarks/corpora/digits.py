"""Spoken digits from 0 to 9 in several languages, from three kinds of packages.

Asterisk's `digits/5.wav` (see `asterisk`), Tux Paint's `symbols/math/5_desc_fr.ogg` (see `tuxpaint`), and
saytime's `5.au`, English in 8-bit mu-law without a header. Numbers above 9, ordinals and genders (`1F`) are
left out.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from earkit.benchmarks.corpora import asterisk, tuxpaint
from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.corpora.undecoded import read_mu_law
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import Audio, read

_DIGITS = frozenset("0123456789")
_SAYTIME = "usr/share/saytime"
_SAYTIME_RATE = 8000
_SAYTIME_FILES = {
    f"{_SAYTIME}/0.au": "59013b21598958a78521c5810a4954a49b47750514917b1b07c6f19da0b79682",
    f"{_SAYTIME}/1.au": "76e758aec245f7f4ad8d534f36273fc6caca8271bf7271069395268ea2e9fa5b",
    f"{_SAYTIME}/2.au": "b977763f4373e56df63f51aa22de41e2914a7d5f880fd96754cb315e6c6cbd9f",
    f"{_SAYTIME}/3.au": "565fcbebe46198970337a74f0cf56eef2812cf384023da4a55da14027d467d31",
    f"{_SAYTIME}/4.au": "f02e668d0babb110b8ef0698a9959a7a2ccc20f3fd083ecc24639d7c78e5ed88",
    f"{_SAYTIME}/5.au": "93faee853004636da0a630a35f699f67886cc8d0da61204c8b546aec7c8c81fe",
    f"{_SAYTIME}/6.au": "cc8c2f304e9a7f35da56cfa015e3dc47512034047c5d0f8b781618f964722d6f",
    f"{_SAYTIME}/7.au": "b5f09940acdcd2424dbf5d022ba8b0a9b8db86ea0c8eb02a0d91d3925f8dad17",
    f"{_SAYTIME}/8.au": "aa9e693ba75661391c18b0a97c4ff979ce92fa583cd25012f4a0c5a932d3f402",
    f"{_SAYTIME}/9.au": "5e16a63d629e8da74ac94594c8242731f87850b7dd7dbc59d82f25544a539207",
}


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every digit of every voice."""
    for package, voice in asterisk.VOICES.items():
        for path, below in asterisk.files(folders[package]):
            if below.parts[0] == "digits" and path.stem in _DIGITS:
                yield Sound(
                    f"{package}/{path.stem}",
                    package,
                    asterisk.decoder(path),
                    language=voice.language,
                    speaker=voice.speaker,
                    label=path.stem,
                )
    for path, stamp, language in tuxpaint.recordings(folders):
        if stamp.parent == tuxpaint.MATH and stamp.name in _DIGITS:
            yield Sound(
                f"tuxpaint-{language}/{stamp.name}",
                tuxpaint.SOURCE.package.name,
                partial(read, path),
                language=language,
                speaker=f"tuxpaint-{language}",
                label=stamp.name,
            )
    for path in sorted((folders["saytime"] / _SAYTIME).glob("?.au")):
        yield Sound(
            f"saytime/{path.stem}",
            "saytime",
            partial(_read_saytime, path),
            language="en",
            speaker="david-dawson",
            label=path.stem,
        )


def _read_saytime(path: Path) -> Audio:
    return read_mu_law(path.read_bytes(), _SAYTIME_RATE, name=str(path))


RECIPE = Recipe(
    name="digits",
    about="spoken digits across voices and languages",
    use="evaluation",
    sources=(
        *asterisk.sources(),
        tuxpaint.SOURCE,
        Source(
            Package("apt", "saytime", "1.0-35+b1"),
            _SAYTIME_FILES,
            "GPL-2.0-or-later",
        ),
    ),
    sounds=sounds,
    hours=0.022,
)
