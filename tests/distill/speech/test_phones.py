from collections import Counter

import numpy as np
import pytest

from earkit.distill.speech.phones import LEXICON, PHONES, SILENCE, spell
from earkit.runtime.errors import DataError


def test_sizes_and_use() -> None:
    assert len(PHONES) == 41  # forty and silence
    assert 110 <= len(LEXICON) <= 160
    used = {phone.label for word in LEXICON.values() for phone in word.phones}
    assert used == set(PHONES) - {SILENCE}


def test_formants_rise_and_stay_audible() -> None:
    for phone in PHONES.values():
        for segment in phone.segments:
            assert np.all(np.diff([150, *segment.formants, 4500]) > 0), phone.label


def test_no_two_words_are_homophones() -> None:
    spelled = Counter(tuple(phone.label for phone in word.phones) for word in LEXICON.values())
    assert spelled.most_common(1)[0][1] == 1


def test_an_average_over_a_word_does_not_name_it() -> None:
    bags = Counter(tuple(sorted(phone.label for phone in word.phones)) for word in LEXICON.values())
    assert sum(size for size in bags.values() if size > 1) >= 20


def test_words_carry_their_stress_on_a_vowel() -> None:
    assert all(word.phones[word.stress].manner == "vowel" for word in LEXICON.values())
    assert [LEXICON[text].stress for text in ("hello", "yellow", "banana")] == [3, 1, 3]


def test_spelling() -> None:
    cat, act = spell("cat act")
    assert [phone.label for phone in cat.phones] == ["k", "ae", "t"]
    assert [phone.label for phone in act.phones] == ["ae", "k", "t"]


@pytest.mark.parametrize("text", ["cat xylophone", "", "  "])
def test_what_cannot_be_said(text: str) -> None:
    with pytest.raises(DataError, match="LEXICON"):
        spell(text)
