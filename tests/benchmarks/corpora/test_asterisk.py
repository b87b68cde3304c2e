"""Prompts of one voice, in both kinds of files."""

from collections.abc import Callable
from pathlib import Path

from earkit.benchmarks.corpora.asterisk import CORE, PROMPTS, SOUNDS, VOICES, sounds

Place = Callable[..., Path]


def test_everything_but_the_digits(place: Place, tone: Callable[..., bytes]) -> None:
    core, old = "asterisk-core-sounds-it-wav", "asterisk-prompt-es-co"
    folders = {
        core: place(
            {
                f"{SOUNDS}/it_IT_m_Carlo/hello.wav": tone(),
                f"{SOUNDS}/it_IT_m_Carlo/letters/a.wav": tone(),
                f"{SOUNDS}/it_IT_m_Carlo/digits/1.wav": tone(),
                f"{SOUNDS}/it_IT_m_Carlo/hello.txt": "hello",
            }
        ),
        old: place({f"{SOUNDS}/es/hello.gsm": bytes([0xD0] + [0] * 32) * 10}),
    }
    (folders[old] / SOUNDS / "letters").symlink_to("es/letters")
    first, second, third = sounds(folders)
    assert [first.name, second.name] == ["core-sounds-it-wav/hello", "core-sounds-it-wav/letters/a"]
    assert (first.language, first.speaker, first.package) == ("it", "carlo-flora", core)
    assert (third.name, third.language) == ("prompt-es-co/hello", "es")
    assert len(first.audio().samples) == 3200
    assert len(third.audio().samples) == 3200  # ten frames of 20 ms


def test_the_two_corpora_divide_the_packages() -> None:
    divided = [source.package.name for recipe in (CORE, PROMPTS) for source in recipe.sources]
    assert sorted(divided) == sorted(VOICES)
