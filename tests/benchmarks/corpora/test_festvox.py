"""Sentences with phone labels."""

from collections.abc import Callable
from pathlib import Path

import pytest

from earkit.benchmarks.corpora.festvox import phones, sounds
from earkit.runtime.errors import DataError

VOICE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"


def test_sentences(place: Callable[..., Path], tone: Callable[..., bytes]) -> None:
    names = [f"ru_{number:04}" for number in range(1, 201)]
    files = {f"{VOICE}/wav/{name}.wav": tone(rate=16_000) for name in names}
    files |= {f"{VOICE}/lab/{name}.lab": "#\n0.12500 125 pau\n0.20000 125 a\n" for name in names}
    files[f"{VOICE}/etc/txt.done.data"] = '( ru_0001 "Раз, \\"два\\"." )\n( ru_0003 "Три." )\n'
    made = list(sounds({"festvox-ru": place(files)}))
    assert [sound.name for sound in made] == names
    assert [sound.text for sound in made[:3]] == ['Раз, \\"два\\".', "", "Три."]
    assert made[0].phones == "pau:0:2000 a:2000:3200"
    assert len(made[0].audio().samples) == 3200
    shares = {split: sum(sound.split == split for sound in made) / 200 for split in ("test", "development")}
    assert shares == {"test": pytest.approx(0.2, abs=0.06), "development": pytest.approx(0.1, abs=0.06)}


def test_a_broken_label_file_is_told(tmp_path: Path) -> None:
    labels = tmp_path / "a.lab"
    labels.write_text("#\n0.1 125 a\n0.2 b\n")
    with pytest.raises(DataError, match=r"a\.lab has the line '0\.2 b'"):
        phones(labels)
