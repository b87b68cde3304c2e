from dataclasses import replace

import numpy as np
import pytest

from earkit.distill.speech.phones import LEXICON, SILENCE, spell
from earkit.distill.speech.prosody import HOP, Score, compose
from earkit.distill.speech.voice import voice_of

VOICE = voice_of(0, 0)


def score(text: str, seed: int = 0, **changes: float) -> Score:
    return compose(spell(text), replace(VOICE, **changes), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_phones_tile_the_score_and_words_are_made_of_them(seed: int) -> None:
    spoken = score("measure the yellow church judge stop", seed)
    assert spoken.phones[0].start == 0
    assert spoken.phones[-1].end == spoken.samples == HOP * len(spoken.pitch) == HOP * len(spoken.effort)
    for left, right in zip(spoken.phones, spoken.phones[1:], strict=False):
        assert left.end == right.start > left.start
    for word in spoken.words:
        inside = [p for p in spoken.phones if word.start <= p.start and p.end <= word.end]
        assert (inside[0].start, inside[-1].end) == (word.start, word.end)
        assert [p.label for p in inside] == [p.label for p in LEXICON[word.label].phones]
    outside = [p for p in spoken.phones if not any(w.start <= p.start < w.end for w in spoken.words)]
    assert {p.label for p in outside} == {SILENCE}
    assert spoken.phones[0].label == spoken.phones[-1].label == SILENCE


def test_pitch_lies_about_the_voice_and_declines() -> None:
    melodies = [score("moon team light road king", seed, liveliness=2.0).pitch for seed in range(20)]
    assert np.median(np.concatenate(melodies)) == pytest.approx(VOICE.pitch, rel=0.12)
    assert np.mean([m[:100].mean() for m in melodies]) > np.mean([m[-150:-100].mean() for m in melodies])


def test_a_fast_speaker_needs_less_time() -> None:
    slow, fast = (score("banana water vision", rate=rate).samples for rate in (0.8, 1.25))
    assert 0.55 < fast / slow < 0.8  # not quite 0.64: bursts do not shrink


def test_vowels_are_longer_before_voiced_consonants() -> None:
    def vowel(text: str) -> float:
        spans = [score(text, seed).phones for seed in range(20)]
        return float(np.mean([next(p.end - p.start for p in s if p.label == "ae") for s in spans]))

    assert vowel("cab") > 1.1 * vowel("cat")
