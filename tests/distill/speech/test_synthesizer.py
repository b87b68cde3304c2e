import time
from dataclasses import replace

import numpy as np
import pytest

from earkit.distill.speech.phones import LEXICON, PHONES
from earkit.distill.speech.synthesizer import LONGEST, SHORTEST, record, say, utterance
from earkit.distill.speech.voice import voice_of
from earkit.runtime.audio import SAMPLE_RATE


def test_the_same_arguments_give_the_same_bytes_in_any_order() -> None:
    asked = [(0, 0, 0), (0, 3, 2), (0, 0, 1), (7, 0, 0)]
    forwards = {key: utterance(*key) for key in asked}
    backwards = {key: utterance(*key) for key in reversed(asked)}
    for key in asked:
        assert forwards[key].audio.tobytes() == backwards[key].audio.tobytes()
        assert forwards[key].phones == backwards[key].phones
    assert len({spoken.audio.tobytes() for spoken in forwards.values()}) == len(asked)


def test_utterances_keep_their_promises() -> None:
    for speaker in range(12):
        spoken = utterance(1, speaker, 0)
        assert np.isfinite(spoken.audio).all()
        assert spoken.audio.dtype == np.float32
        assert 0.01 < np.abs(spoken.audio).max() <= 0.951
        assert SHORTEST <= len(spoken.audio) / SAMPLE_RATE <= LONGEST
        assert 4 <= len(spoken.words) <= 10
        assert spoken.text.split() == [word.label for word in spoken.words]
        assert spoken.phones[-1].end == len(spoken.audio)
        assert {word.label for word in spoken.words} <= set(LEXICON)
        assert {phone.label for phone in spoken.phones} <= set(PHONES)


def test_labels_stand_where_the_sounds_are() -> None:
    """Vowels are louder than the silence before the first word, and /s/ hisses in its place."""
    spoken = say("cat song cat sin", replace(voice_of(0, 2), breathiness=-40.0), np.random.default_rng(0))

    def power(label: str) -> float:
        return float(
            np.mean([np.mean(spoken.audio[p.start : p.end] ** 2) for p in spoken.phones if p.label == label])
        )

    def crossings(label: str) -> float:
        signs = [np.signbit(spoken.audio[p.start : p.end]) for p in spoken.phones if p.label == label]
        return float(np.mean([np.mean(sign[1:] != sign[:-1]) for sign in signs]))

    assert power("ae") > 1000 * power("sil")
    assert crossings("s") > 3 * crossings("ae")


def test_the_background_is_between_5_and_35_decibels_below() -> None:
    """With a voice that is only a tone, what is not the tone is the background."""
    seconds = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    ratios = []
    for seed in range(40):
        heard = record(
            np.sin(2 * np.pi * 1000 * seconds),
            replace(voice_of(0, 0), channel_tilt=0.0),
            np.random.default_rng(seed),
        )
        power = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) ** 2
        tone = power[2990:3011].sum()
        ratios.append(10 * np.log10(tone / (power.sum() - tone)))
    assert min(ratios) > 0  # the uneven microphone may take some, or give it
    assert 25 < max(ratios) < 40
    assert np.ptp(ratios) > 12


def test_words_outside_the_lexicon_are_refused() -> None:
    with pytest.raises(ValueError, match="xylophone"):
        say("xylophone", voice_of(0, 0), np.random.default_rng(0))


def test_it_is_fast() -> None:
    utterance(0, 0, 0)
    start = time.process_time()
    made = sum(len(utterance(0, speaker, 1).audio) for speaker in range(6)) / SAMPLE_RATE
    assert made > 20 * (time.process_time() - start)
