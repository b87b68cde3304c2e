"""Single notes of instruments from three sample libraries; the label is the family in General MIDI.

Two SoundFonts and a folder of Ultrasound patches (`Tone_000/019_Church_Organ.pat`,
`Drum_000/035_Kick_1.pat`). A probe trains on the first library and is tested on the others. A sample that
instruments of several families play has no label.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from earkit.benchmarks.corpora import gus_patch, soundfont
from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package

FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)
"""Eight programs each, in this order."""
DRUMS = "drums"

_SOUNDFONTS = {
    "fluid-soundfont-gm": ("usr/share/sounds/sf2/FluidR3_GM.sf2", "train"),
    "timgm6mb-soundfont": ("usr/share/sounds/sf2/TimGM6mb.sf2", "test"),
}
_PATCHES = "usr/share/midi/freepats"
_DRUM_BANK = 128


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every sample; those that train first, so that it is the tests that lose a duplicate."""
    for package, (file, split) in _SOUNDFONTS.items():
        path = folders[package] / file
        for index, sample in enumerate(soundfont.samples(path)):
            yield Sound(
                f"{package}/{index:04}",
                package,
                partial(soundfont.read_sample, path, sample),
                text=sample.name,
                label=family(sample.presets),
                split=split,
            )
    yield from _patches(folders["freepats"] / _PATCHES)


def family(presets: frozenset[tuple[int, int]]) -> str:
    """Name the one family to which all (bank, program) belong, if there is one."""
    families = {DRUMS if bank == _DRUM_BANK else FAMILIES[program // 8] for bank, program in presets}
    return families.pop() if len(families) == 1 else ""


def _patches(folder: Path) -> Iterator[Sound]:
    for path in sorted(folder.glob("*/*.pat")):
        number, _, instrument = path.stem.partition("_")
        bank = _DRUM_BANK if path.parent.name.startswith("Drum") else 0
        for index, sample in enumerate(gus_patch.samples(path)):
            yield Sound(
                f"freepats/{path.parent.name}/{path.stem}-{index:02}",
                "freepats",
                partial(gus_patch.read_sample, path, sample),
                text=instrument.replace("_", " "),
                label=family(frozenset({(bank, int(number))})),
                split="test",
            )


RECIPE = Recipe(
    name="instruments",
    about="single notes from three sample libraries: instrument families",
    use="evaluation",
    sources=(
        Source(
            Package("apt", "fluid-soundfont-gm", "3.1-5.3"),
            "6f531493ac4e4d9772fd96b2488ea1790af81c196135fbdd25997da0781fc60e",
            "MIT",
        ),
        Source(
            Package("apt", "timgm6mb-soundfont", "1.3-5"),
            "034abdfb296d9353433513dad5dbdcab46425ee6008fc02fe7039b46e75edc54",
            "GPL-2.0-only",
        ),
        Source(
            Package("apt", "freepats", "20060219-4"),
            "1282628c7ec015f0d39a8b1ee58a2d942220bbad38173d005bbfbaaf36e1d6f1",
            "GPL-2.0-or-later",
        ),
    ),
    sounds=sounds,
    hours=0.78,
)
