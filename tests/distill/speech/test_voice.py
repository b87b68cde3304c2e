import numpy as np

from earkit.distill.speech.phones import PHONES
from earkit.distill.speech.voice import draw_voice, voice_of


def test_a_voice_depends_on_seed_and_speaker_only() -> None:
    assert voice_of(3, 5) == voice_of(3, 5)
    assert voice_of(3, 5) != voice_of(3, 6)
    assert voice_of(3, 5) != voice_of(4, 5)


def test_voices_span_men_women_and_children() -> None:
    voices = [draw_voice(np.random.default_rng(seed)) for seed in range(200)]
    pitch = {
        kind: np.array([v.pitch for v in voices if v.kind == kind]) for kind in ("man", "woman", "child")
    }
    assert all(len(of_kind) > 10 for of_kind in pitch.values())
    man, woman, child = (np.median(of_kind) for of_kind in pitch.values())
    assert man < 130 < woman - 40 < child - 80
    assert min(v.pitch for v in voices) > 60
    tracts = np.log([v.tract for v in voices])
    assert np.std(tracts) > 0.1  # formants differ by a tenth and more from one speaker to the next
    assert np.ptp(tracts) < np.log(2)


def test_each_phone_has_an_accent_near_one() -> None:
    accent = voice_of(0, 0).accent
    assert set(accent) == set(PHONES)
    assert np.abs(np.log(list(accent.values()))).max() < 0.25
