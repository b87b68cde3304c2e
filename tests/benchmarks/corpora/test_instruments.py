"""Families of instruments."""

from pathlib import Path

import pytest

from earkit.benchmarks.corpora import gus_patch, soundfont
from earkit.benchmarks.corpora.instruments import family, sounds


@pytest.mark.parametrize(
    ("presets", "name"),
    [
        ({(0, 0)}, "piano"),
        ({(0, 7), (8, 0)}, "piano"),
        ({(0, 8)}, "chromatic percussion"),
        ({(0, 127)}, "sound effects"),
        ({(0, 66), (0, 71)}, "reed"),
        ({(128, 40)}, "drums"),
        ({(0, 40), (0, 48)}, ""),  # strings and ensemble
        (set(), ""),
    ],
)
def test_family(presets: set[tuple[int, int]], name: str) -> None:
    assert family(frozenset(presets)) == name


def test_the_first_library_trains_and_the_others_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = tmp_path / "usr/share/midi/freepats"
    for name in ("Tone_000/019_Church_Organ.pat", "Drum_000/035_Kick_1.pat"):
        (patches / name).parent.mkdir(parents=True)
        (patches / name).touch()
    notes = [
        soundfont.Sample(name, 0, 2, 8000, frozenset({(0, program)}))
        for name, program in (("A", 0), ("B", 57))
    ]
    monkeypatch.setattr(
        soundfont, "samples", lambda path: notes[:1] if path.name.startswith("Tim") else notes
    )
    monkeypatch.setattr(gus_patch, "samples", lambda _: [gus_patch.Sample(0, 2, 8000, True, False)])
    made = list(sounds(dict.fromkeys(("fluid-soundfont-gm", "timgm6mb-soundfont", "freepats"), tmp_path)))
    assert [(sound.name, sound.label, sound.split, sound.text) for sound in made] == [
        ("fluid-soundfont-gm/0000", "piano", "train", "A"),
        ("fluid-soundfont-gm/0001", "brass", "train", "B"),
        ("timgm6mb-soundfont/0000", "piano", "test", "A"),
        ("freepats/Drum_000/035_Kick_1-00", "drums", "test", "Kick 1"),
        ("freepats/Tone_000/019_Church_Organ-00", "organ", "test", "Church Organ"),
    ]
